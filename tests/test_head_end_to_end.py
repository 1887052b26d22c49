"""A whole run with a head on the queries and NUDGE: the base's index is used again, and what was scored is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raglift
from raglift.index.store import FaissStore
from raglift.training import embedding_stage, nudge_stage
from tests.small_runs import small_config, write_documents, write_questions
from tests.test_contracts import Rising
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, QUESTIONS)
    small = small_config(folder, tiny_llm, tiny_embedding)
    return {
        **small,
        "run": "headed",
        "embedding": {**small["embedding"], "strategies": ["embedding_head"], "epochs": 3},
        "index": {"nudge": "M"},
        "llm": {**small["llm"], "strategies": []},
        "runtime": {**small["runtime"], "trackers": []},
    }


def test_a_headed_and_nudged_run_serves_what_it_scored(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "indexes"
    monkeypatch.setattr(embedding_stage, "DevScore", Rising)
    highest = iter(range(1000))
    monkeypatch.setattr(nudge_stage.DevRanking, "score", lambda *_: float(next(highest)))
    run = raglift.run({**config, "workspace": str(workspace)}, quiet=True)
    stages = [stage["name"] for stage in run.report["stages"]]
    assert stages[stages.index("index_tuned") + 1] == "nudge"
    base, tuned = (run.artifact(f"index_{which}").path for which in ("base", "tuned"))
    for file in ("v000001/vectors.faiss", "v000001/nodes.jsonl", "index.json"):
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
    assert {name for name, key in keys[0].items() if keys[1][name] != key} == {"fusion_tuned", "evaluation"}


def test_another_head_is_scored_anew_though_the_index_stays(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_stage, "DevScore", Rising)
    keys = []
    for rate in (1e-3, 0.1):
        tuned = {**config["embedding"], "learning_rate": rate}
        run = raglift.run({**config, "embedding": tuned, "index": {}, "workspace": str(tmp_path / "w")}, quiet=True)
        keys.append([run.artifact(stage).key for stage in ("embedding", "index_tuned", "evaluation")])
    assert [first == second for first, second in zip(*keys, strict=True)] == [False, True, False]
