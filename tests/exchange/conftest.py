"""A run on disk that has come as far as its questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raglift.artifacts import Store, write_json
from raglift.config import config_from_dict
from raglift.records import Chunk, Document, Evidence, QAPair, content_id, write_jsonl
from raglift.synthesis import review
from raglift.synthesis.review_file import Row

TIDES = "Low water is at six. High water is at noon."
BIRDS = "The kite nests in oaks. It eats voles."


def a_document(source: str, text: str) -> Document:
    identity = content_id(source, text)
    return Document(identity, source, text, {}, identity, "train")


DOCUMENTS = (a_document("tides.md", TIDES), a_document("birds.md", BIRDS))
CHUNKS = tuple(
    Chunk(f"chunk-{document.source}-{start}", document.id, document.text[start:end], start, end)
    for document in DOCUMENTS
    for cut in [document.text.index(". ") + 2]
    for start, end in ((0, cut), (cut, len(document.text)))
)


def synthetic(question: str, answer: str, place: int, split: Any) -> QAPair:
    chunk = CHUNKS[place]
    evidence = (Evidence(chunk.document_id, chunk.id, chunk.start, chunk.end),)
    identity = content_id(question, answer, chunk.id, "factoid")
    return QAPair(
        identity, question, (answer,), evidence, "factoid", split, "synthetic", scores={"rank": float(place + 1)}
    )


SYNTHETIC = (
    synthetic("When is low water?", "six", 0, "train"),
    synthetic("When is high water?", "noon", 1, "dev"),
    synthetic("Where does the kite nest?", "oaks", 2, "test"),
    synthetic("What does the kite eat?", "voles", 3, "test"),
)
HUMAN = (
    QAPair("h1", "When do we sail?", ("at noon",), (Evidence(DOCUMENTS[0].id, None, 0, len(TIDES)),), "human", "test",
           "human"),
    QAPair("h2", "Who is the harbour master?", (), (), "human", "dev", "human", answerable=False),
)  # fmt: skip


def make_run(root: Path, name: str = "small", rows: list[Row] | None = None, state: str = "interrupted") -> Path:
    """A run that was stopped after its questions, reviewed or not."""
    store, stages = Store(root), []

    def stage(name: str, **files: Any) -> None:
        def write(out: Path) -> None:
            for stem, records in files.items():
                write_jsonl(out / f"{stem}.jsonl", records)

        store.build(name, "k" * 16, write)
        stages.append({"name": name, "key": "k" * 16, "seconds": 0.0, "cached": False, "state": "done"})

    stage("corpus", documents=DOCUMENTS, chunks=CHUNKS, human=HUMAN)
    stage("synthesis", questions=SYNTHETIC)
    settings: dict[str, Any] = {"data": {"documents": "docs"}}
    if rows is not None:
        settings["synthesis"] = {"review": "review.csv"}
        kept = [review.corrected(q, {row.id: row for row in rows}.get(q.id, Row(q.id))) for q in SYNTHETIC]
        stage("review", questions=kept, review=rows)
    config = config_from_dict(settings)
    value = {"run": name, "state": state, "stages": stages, "config": config.model_dump(mode="json")}
    write_json(root / "runs" / name / "run.json", value)
    return root / "runs" / name


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of such a run, under the workspace `tmp_path / "ws"`."""
    return make_run(tmp_path / "ws")
