"""A whole run whose questions are reworded: scored as arms, chosen on dev, served as scored, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift.errors import UserError
from raglift.index import fusion_stage
from raglift.index.retriever import LiftRetriever
from raglift.models.generation import Generator
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow

TRANSFORMS = [{"hyde": {"max_new_tokens": 8}}, {"multi_query": {"samples": 2, "max_new_tokens": 6}}, "rewriting"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, QUESTIONS)
    config = small_config(folder, tiny_llm, tiny_embedding)
    config["embedding"] |= {"epochs": 1, "learning_rate": 1e-3}
    config["llm"] |= {"strategies": []}
    config["runtime"] |= {"trackers": []}
    return config | {"run": "reworded", "retrieval": {"transforms": TRANSFORMS}}


def answered(run: raglift.RunResult) -> list[dict[str, Any]]:
    path = run.artifact("evaluation").path / "human-answered.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_arm_is_served_as_it_was_scored(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_stage, "LEAST", 2)
    run = raglift.run({**config, "workspace": str(tmp_path)}, quiet=True)
    assert run.arms[-3:] == ["tuned_hybrid+hyde", "tuned_hybrid+multi_query", "tuned_hybrid+rewriting"]
    assert set(run.arms[-3:]) <= set(run.report["retrieval"]["human"])
    assert not set(run.arms[-3:]) & set(run.report["response"]["human"])
    asked = {f"q{i}": question for i, (question, _) in enumerate(QUESTIONS)}
    rows = [row for row in answered(run) if row["ranking"]]
    assert {row["arm"] for row in rows} == {arm for arm in run.arms if "closed_book" not in arm}
    orders = {}
    for arm in {row["arm"] for row in rows}:
        mine = [row for row in rows if row["arm"] == arm]
        retriever = run.retriever(arm, top_k=20)
        assert isinstance(retriever, LiftRetriever)
        for row, hits in zip(mine, retriever.retrieve_batch([asked[row["qa_id"]] for row in mine]), strict=True):
            alone = retriever.retrieve(asked[row["qa_id"]])
            for served in (hits, alone):
                scores = [score for _, score in row["ranking"]]
                assert [hit.score for hit in served] == pytest.approx(scores, abs=1e-4)
                assert [hit.node.node_id for hit in served] == [chunk_id for chunk_id, _ in row["ranking"]]
            orders[arm, row["qa_id"]] = [chunk_id for chunk_id, _ in row["ranking"]]
    for arm in run.arms[-3:]:
        assert any(orders[arm, q] != orders["tuned_hybrid", q] for q in asked if (arm, q) in orders)
    choices = run.report["choices"]
    assert set(choices) == {"fusion_base", "fusion_tuned", "transforms"}
    for name in ("base", "tuned"):
        assert (
            choices[f"fusion_{name}"]["fusion"]
            == json.loads((run.artifact(f"fusion_{name}").path / "fusion.json").read_text("utf-8"))["fusion"]
        )
    assert [row["name"] for row in choices["transforms"]["candidates"]][1:] == ["hyde", "multi_query", "rewriting"]
    again = raglift.run({**config, "workspace": str(tmp_path)}, quiet=True)
    assert all(stage["cached"] for stage in again.report["stages"])


def test_an_interrupted_rewording_goes_on(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**config, "workspace": str(tmp_path / "cut"), "retrieval": {"transforms": ["rewriting", "multi_query"]}}
    generate, calls = Generator.generate_samples, []

    def stopping(self: Generator, prompts: Any, sampling: Any, samples: int, **rest: Any) -> Any:
        calls.append(samples)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(self, prompts, sampling, samples, **rest)

    written = raglift.run({**given, "retrieval": {}}, quiet=True)  # the questions; what is left is evaluation
    assert "transforms" not in written.report["choices"]
    with monkeypatch.context() as patch:
        patch.setattr(Generator, "generate_samples", stopping)
        with pytest.raises(KeyboardInterrupt):
            raglift.run(given, quiet=True)
        assert calls == [1, 3]
        resumed = raglift.run(given, quiet=True)
        assert calls[2:] == [3, 1, 3], "the first transform's texts about people's questions were kept"
    whole = raglift.run({**given, "workspace": str(tmp_path / "whole")}, quiet=True)
    kept = [[{k: v for k, v in row.items() if k != "seconds"} for row in answered(run)] for run in (resumed, whole)]
    assert kept[0] == kept[1]


def test_the_choice_of_a_fusion_changes_what_depends_on_it_and_nothing_else(
    config: dict[str, Any], tmp_path: Path
) -> None:
    keys = []
    for retrieval in ({}, {"fusion": {"rrf": {"k": 60}}}, {"language": "any"}):
        run = raglift.run({**config, "retrieval": retrieval, "workspace": str(tmp_path)}, quiet=True)
        keys.append({stage["name"]: stage["key"] for stage in run.report["stages"]})
    changed = [{name for name, key in keys[0].items() if other[name] != key} for other in keys[1:]]
    assert changed[0] == {"fusion_base", "fusion_tuned", "evaluation"}
    # Hard passages are found by the run's own BM25, so that the questions, and what learns from them, follow its words.
    learned = {"synthesis", "audit", "training_sets", "embedding", "llm"}
    assert changed[1] == {"bm25", "fusion_base", "fusion_tuned", "evaluation"} | learned
    assert run.bm25.rankings(["the"], 3)[0], "nothing is left out of any language"


@pytest.mark.parametrize(
    ("retrieval", "message"),
    [
        ({"fusion": "rff"}, r"retrieval\.fusion: 'rff' is not a fusion \(did you mean 'rrf'\?\)"),
        ({"fusion": {"convex": {"alpha": 1.5}}}, "less than or equal to 1"),
        ({"fusion": {"rrf": {"alpha": 0.5}}}, "alpha"),
        ({"fusion": {"auto": {"alpha": 0.5}}}, "'auto' is not a fusion"),
        ({"language": "klingon"}, "'klingon' is not a language of BM25"),
        ({"transforms": ["hide"]}, r"retrieval\.transforms: 'hide' is not a query transform \(did you mean 'hyde'\?\)"),
        ({"transforms": [{"hyde": {"samples": 0}}]}, "greater than or equal to 1"),
        ({"transforms": ["hyde", {"hyde": {"samples": 2}}]}, "names one of them twice"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    config: dict[str, Any], tmp_path: Path, retrieval: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        raglift.run({**config, "retrieval": retrieval, "workspace": str(tmp_path)}, quiet=True)
    assert not list(tmp_path.iterdir())
