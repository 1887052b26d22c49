"""A whole run with a reranker: trained on the first stage's lists, scored as an arm, served as it was scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder

import raglift
from raglift.errors import UserError
from raglift.index.rerankers import LiftReranker
from raglift.index.retriever import LiftRetriever
from raglift.training import rerank_stage
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(
    tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path, tiny_cross_encoder: Path
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, QUESTIONS)
    config = small_config(folder, tiny_llm, tiny_embedding)
    config["embedding"] |= {"epochs": 1, "learning_rate": 1e-3}
    config["llm"] |= {"strategies": []}
    config["runtime"] |= {"trackers": []}
    rerank = {"model": str(tiny_cross_encoder), "depth": 6, "batch_size": 4, "epochs": 1, "learning_rate": 1e-3}
    return config | {"run": "reranked", "rerank": rerank}


def later(monkeypatch: pytest.MonkeyPatch, first: float) -> None:
    """Every state that is scored is better than those before; the first stage's order is worth `first`."""
    highest = iter(range(1, 1000))
    monkeypatch.setattr(rerank_stage.DevScore, "__call__", lambda *_: float(next(highest)))
    monkeypatch.setattr(rerank_stage.DevScore, "first_stage", first)


@pytest.mark.parametrize(("first_stage", "share"), [("hybrid", 0.0), ("dense", 0.3)])
def test_a_run_serves_the_order_that_it_scored(
    first_stage: str, share: float, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 0.0)
    rerank = {**config["rerank"], "first_stage": first_stage, "first_stage_share": share}
    given = {**config, "rerank": rerank, "workspace": str(tmp_path)}
    run = raglift.run(given, quiet=True)
    stages = [stage["name"] for stage in run.report["stages"]]
    assert stages[-4:] == ["rerank_lists", "rerank", "llm", "evaluation"]
    assert run.arms[-2:] == ["reranked", "tuned_all"]
    assert {"reranked", "tuned_all"} <= set(run.report["retrieval"]["human"])
    assert {"reranked", "tuned_all"} <= set(run.report["response"]["human"])
    training = run.report["training"]["rerank"]
    last = training["candidates"][-1]["name"]
    assert last == training["chosen"]
    assert last.endswith(", 0.3 first stage") == bool(share)
    assert training["candidates"][0]["name"] == "not reranked"
    assert training["candidates"][1]["name"].startswith("base")
    assert run.report["chosen"]["arm"] in run.arms
    rows = [
        json.loads(line)
        for line in (run.artifact("evaluation").path / "human-answered.jsonl").read_text("utf-8").splitlines()
    ]
    asked = {f"q{i}": question for i, (question, _) in enumerate(QUESTIONS)}
    reranker = run.reranker()
    assert isinstance(reranker, LiftReranker)
    plain = CrossEncoder(reranker.source, device="cpu", local_files_only=True)
    differs = False
    by_arm = {(row["arm"], row["qa_id"]): row for row in rows}
    for row in (row for row in rows if row["arm"] in ("reranked", "tuned_all")):
        question = asked[row["qa_id"]]
        assert len(row["ranking"]) == 6
        hits = run.retriever(row["arm"], top_k=6).retrieve(question)
        assert isinstance(run.retriever(row["arm"]), LiftRetriever)
        assert [hit.node.node_id for hit in hits] == [chunk_id for chunk_id, _ in row["ranking"]]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in row["ranking"]], abs=1e-4)
        if not share:
            ranked = plain.rank(question, [hit.node.get_content() for hit in hits])
            assert [each["corpus_id"] for each in ranked] == list(range(6))
        response = run.query_engine(row["arm"]).query(question)
        assert [hit.node.get_content() for hit in response.source_nodes] == row["contexts"]
        assert str(response).strip() == row["answer"]
        first = by_arm["tuned_hybrid" if first_stage == "hybrid" else "tuned_embedding", row["qa_id"]]["ranking"]
        assert {chunk_id for chunk_id, _ in first[:6]} == {chunk_id for chunk_id, _ in row["ranking"]}
        differs = differs or [c for c, _ in first[:6]] != [c for c, _ in row["ranking"]]
    assert differs
    with pytest.raises(UserError, match="has no reranker"):
        run.reranker("tuned_both")
    again = raglift.run(given, quiet=True)
    assert all(stage["cached"] for stage in again.report["stages"])


def test_where_nothing_beat_the_first_stage_it_is_not_reranked(
    config: dict[str, Any], tmp_path: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 999.0)
    settings = {**config["rerank"], "model": str(tiny_embedding)}
    run = raglift.run({**config, "rerank": settings, "workspace": str(tmp_path)}, quiet=True)
    assert run.report["training"]["rerank"]["chosen"] == "not reranked"
    assert run.report["chosen"]["arm"] not in ("reranked", "tuned_all")
    scores = run.report["retrieval"]["human"]
    for metric in ("nDCG@10", "R@10"):
        assert scores["reranked"][metric]["value"] == scores["tuned_hybrid"][metric]["value"]
    question = QUESTIONS[0][0]
    assert [hit.node.node_id for hit in run.retriever("reranked").retrieve(question)] == [
        hit.node.node_id for hit in run.retriever("tuned_hybrid").retrieve(question)
    ]
    with pytest.raises(UserError, match="first stage's own"):
        run.reranker()


def test_a_language_model_puts_in_order_what_it_was_scored_on(
    config: dict[str, Any], tmp_path: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank_stage.DevScore, "first_stage", 0.0)
    settings = {"model": str(tiny_llm), "strategies": [], "depth": 6}
    run = raglift.run({**config, "rerank": settings, "workspace": str(tmp_path)}, quiet=True)
    assert run.report["training"]["rerank"]["chosen"] == "base, 0.5 first stage"
    assert "reranker: the model as it comes, 0.5 first stage was best" in run.report["chosen"]["why"]
    assert run.reranker().source == str(tiny_llm)
    lines = (run.artifact("evaluation").path / "human-answered.jsonl").read_text("utf-8").splitlines()
    ranked = {row["qa_id"]: row["ranking"] for row in map(json.loads, lines) if row["arm"] == "reranked"}
    for number, (question, _) in enumerate(QUESTIONS):
        if f"q{number}" in ranked:
            hits = run.retriever("reranked", top_k=6).retrieve(question)
            assert [hit.score for hit in hits] == pytest.approx([s for _, s in ranked[f"q{number}"]], abs=1e-4)
            assert [hit.node.node_id for hit in hits] == [chunk_id for chunk_id, _ in ranked[f"q{number}"]]
    assert ranked
    with pytest.raises(UserError, match="is not tuned as a reranker"):
        raglift.run({**config, "rerank": {"model": str(tiny_llm)}, "workspace": str(tmp_path / "other")}, quiet=True)
    assert not list((tmp_path / "other").glob("corpus")), "said before anything is built"


def test_a_reranker_changes_no_other_stage(config: dict[str, Any], tmp_path: Path) -> None:
    without = {key: value for key, value in config.items() if key != "rerank"}
    keys = []
    for values in (without, {**config, "rerank": {**config["rerank"], "epochs": 1}}):
        run = raglift.run({**values, "workspace": str(tmp_path)}, quiet=True)
        keys.append({stage["name"]: stage["key"] for stage in run.report["stages"]})
    assert keys[1].keys() - keys[0].keys() == {"rerank_lists", "rerank"}
    assert {name for name, key in keys[0].items() if keys[1][name] != key} == {"evaluation"}
    lists = keys[1]["rerank_lists"]
    other = {**config, "rerank": {**config["rerank"], "strategies": ["lora"]}, "workspace": str(tmp_path)}
    run = raglift.run(other, quiet=True)
    found = {stage["name"]: stage["key"] for stage in run.report["stages"]}
    assert found["rerank_lists"] == lists
    assert found["rerank"] != keys[1]["rerank"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "cross-encoder-of-nobody"}, "There is no model called"),
        ({"objective": "multiple_negatives"}, "'multiple_negatives' cannot train the rerank model"),
        ({"strategies": ["embedding_head"]}, "'embedding_head' cannot tune the rerank"),
        ({"strategies": ["full", "lora"]}, "clash"),
        ({"depth": 2}, r"rerank\.depth \(2\) must be at least retrieval\.top_k \(3\)"),
        ({"hard_negatives": 0, "random_negatives": 0}, "learns from wrong passages"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    config: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    wrong = {**config, "rerank": {**config["rerank"], **change}, "workspace": str(tmp_path)}
    with pytest.raises(UserError, match=message):
        raglift.run(wrong, quiet=True)
    assert not list(tmp_path.iterdir())
