"""A whole run with a head on the queries and NUDGE: the base's index is used again, and what was scored is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raglift
from raglift.index.store import FaissStore
from raglift.training import embedding_stage, nudge_stage
from tests.tiny import QUESTIONS, SENTENCES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    for number, sentence in enumerate(SENTENCES[:8]):
        more = " ".join(f"In year {year} of volume {number} this was written down again." for year in range(8))
        (folder / f"{number}.md").write_text(f"# Page {number}\n\n{sentence} {more}\n", encoding="utf-8")
    questions = folder / "questions.jsonl"
    rows = [
        {"id": f"q{i}", "question": asked, "answer": answer, "topics": [f"{i}.md"], "quotes": [SENTENCES[i]]}
        for i, (asked, answer) in enumerate(QUESTIONS)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shares = {"train": 0.5, "dev": 0.25, "test": 0.25, "audit_ngrams": 1.0, "audit_questions": 1.0}
    return {
        "run": "headed",
        "data": {"documents": str(folder), "questions": str(questions)},
        "corpus": {"chunk_tokens": 40, **shares},
        "synthesis": {"model": str(tiny_llm), "filters": [], "batch_size": 4},
        "embedding": {"model": str(tiny_embedding), "strategies": ["embedding_head"], "batch_size": 4, "epochs": 3},
        "index": {"nudge": "M"},
        "llm": {"model": str(tiny_llm), "strategies": [], "max_new_tokens": 6},
        "evaluation": {"similarity_model": str(tiny_embedding), "resamples": 200},
        "runtime": {"dtype": "float32", "threads": 1, "trackers": []},
    }


class Later:
    """Stands for a development score: whatever comes later is better."""

    def __init__(self, *_: Any) -> None:
        self.calls = 0

    def __len__(self) -> int:
        return 1

    def __call__(self, _: Any) -> float:
        self.calls += 1
        return float(self.calls)


def test_a_headed_and_nudged_run_serves_what_it_scored(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "indexes"
    monkeypatch.setattr(embedding_stage, "DevScore", Later)
    highest = iter(range(1000))
    monkeypatch.setattr(nudge_stage.DevRanking, "score", lambda *_: float(next(highest)))
    run = raglift.run({**config, "workspace": str(workspace)}, quiet=True)
    stages = [stage["name"] for stage in run.report["stages"]]
    assert stages[stages.index("index_tuned") + 1] == "nudge"
    base, tuned = (run.artifact(f"index_{which}").path for which in ("base", "tuned"))
    for file in ("index.faiss", "nodes.jsonl", "index.json"):
        assert (base / file).read_bytes() == (tuned / file).read_bytes()
    assert run.report["training"]["index"]["chosen"].startswith("NUDGE-M ")
    ids = [chunk.id for chunk in run.corpus.chunks]
    moved = run.store("tuned").vectors(ids) - FaissStore.open(base).vectors(ids)
    trained = [run.corpus.split_of[chunk.document_id] == "train" for chunk in run.corpus.chunks]
    assert np.any(moved)
    assert not np.any(moved[~np.array(trained)])
    embedding = run.embedding("tuned_embedding")
    question = QUESTIONS[0][0]
    assert embedding.get_text_embedding(question) == pytest.approx(
        run.embedding("base").get_text_embedding(question), abs=1e-6
    )
    query = np.array(embedding.get_query_embedding(question))
    assert not np.allclose(query, run.embedding("base").get_query_embedding(question), atol=1e-3)
    hits = run.retriever("tuned_embedding", top_k=3).retrieve(question)
    expected = np.argsort(-(run.store("tuned").vectors(ids) @ query), kind="stable")[:3]
    assert [hit.node.node_id for hit in hits] == [ids[row] for row in expected]
    again = raglift.run({**config, "workspace": str(workspace)}, quiet=True)
    assert all(stage["cached"] for stage in again.report["stages"])


def test_without_it_no_stage_and_no_key_changes(config: dict[str, Any], tmp_path: Path) -> None:
    plain = {**config, "run": "plain", "index": {}, "workspace": str(tmp_path / "indexes")}
    keys = []
    for nudge in (None, "N"):
        run = raglift.run({**plain, "run": f"run-{nudge}", "index": {"nudge": nudge}}, quiet=True)
        keys.append({stage["name"]: stage["key"] for stage in run.report["stages"]})
    assert "nudge" not in keys[0]
    assert keys[1].keys() - keys[0].keys() == {"nudge"}
    assert {name for name, key in keys[0].items() if keys[1][name] != key} == {"evaluation"}
