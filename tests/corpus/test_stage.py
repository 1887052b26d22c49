from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raglift.config import Config, DataConfig
from raglift.corpus.stage import build, read_sources
from raglift.errors import UserError
from tests.tasks import job


def _write(path: Path, *rows: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """A set with the questions q1, q2 and 7; only the first and the last are judged."""
    folder = tmp_path / "beir"
    _write(folder / "corpus.jsonl", {"_id": "d1", "text": "one"}, {"_id": "d2", "text": "two"})
    _write(folder / "queries.jsonl", *({"_id": name, "text": f"{name}?"} for name in ("q1", "q2", "7")))
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n7\td2\t1\n")
    return folder


def config(beir: Path, *ids: str | int) -> Config:
    questions = _write(beir.parent / "more.jsonl", *({"id": name, "question": "And?"} for name in ids))
    return Config(run="demo", workspace=str(beir.parent), data=DataConfig(beir=str(beir), questions=questions))


def test_questions_of_a_file_follow_those_of_a_set(beir: Path) -> None:
    reading, questions = read_sources(config(beir, "h1", "q2"))  # q2 is not judged: no question of the set
    documents = reading.documents
    assert [document.source for document in documents] == ["d1", "d2"]
    assert [question.id for question in questions] == ["q1", "7", "h1", "q2"]


@pytest.mark.parametrize(
    ("ids", "first", "count"), [(("h1", "q1"), "q1", 1), ((7,), "7", 1), (("q1", "h1", "7"), "7", 2)]
)
def test_an_id_that_stands_in_both_is_refused(beir: Path, ids: tuple[str | int, ...], first: str, count: int) -> None:
    with pytest.raises(UserError, match=f"The id '{first}' stands in ") as caught:
        read_sources(config(beir, *ids))
    assert "queries.jsonl" in caught.value.what
    assert "more.jsonl" in caught.value.what
    assert caught.value.why == f"{count} ids stand in both."


def test_documents_of_which_no_chunk_is_left_end_the_stage(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "documents").mkdir(exist_ok=True)
        (tmp_path / "documents" / f"{name}.txt").write_text("---- " * len(name), encoding="utf-8")
    given = Config(run="demo", workspace=str(tmp_path / "w"), data=DataConfig(documents=str(tmp_path / "documents")))
    reading, questions = read_sources(given)
    with pytest.raises(UserError, match="No chunk is left of the documents"):
        build(given, reading, questions, job(tmp_path / "out"))
    assert not list(tmp_path.rglob("chunks.jsonl"))
