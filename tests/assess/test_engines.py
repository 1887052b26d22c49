"""Any engine is scored: where it fails, by what it gives, and on from where it stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import Response, StreamingResponse
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import NodeWithScore

import raglift
from raglift.errors import UserError
from raglift.evaluation.reasons import NO_RANKING
from raglift.evaluation.statistics import Resampling, compare
from raglift.index.retriever import LiftRetriever
from raglift.records import Answered, QAPair, Score, read_jsonl
from tests.assess.conftest import SETTINGS, Rows, ScriptedEngine, ScriptedRetriever, node


def evaluate(engine: Any, questions: Any, **more: Any) -> Any:
    return raglift.evaluate(engine, questions, settings=more.pop("settings", SETTINGS), quiet=True, **more)


def values(found: Any, arm: str, metric: str) -> dict[str, float | None]:
    return {s.qa_id: s.value for s in found.scores.values if (s.arm, s.metric) == (arm, metric)}


def test_a_retriever_is_ranked_as_ir_measures_ranks_it(rows: Rows) -> None:
    asked = rows(4)
    script = {
        "Where is 0?": ["0.md", "1.md"],
        "Where is 1?": ["3.md", "2.md", "1.md"],
        "Where is 2?": ["0.md"],
        "Where is 3?": [],
    }
    found = evaluate(ScriptedRetriever(script), asked)
    run = {f"q{i}": {d: 1 / rank for rank, d in enumerate(script[f"Where is {i}?"], 1)} for i in range(4)}
    qrels = {f"q{i}": {f"{i}.md": 1} for i in range(4)}
    for name in ("nDCG@10", "R@5"):
        expected = {
            result.query_id: result.value
            for result in ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, run)
        }
        assert values(found, "engine", name) == pytest.approx({**dict.fromkeys(run, 0.0), **expected})
    assert found.as_dict()["response"] == {}
    assert list(found.as_dict()["retrieval"]["questions"]["engine"]) == ["nDCG@10", "R@5", "seconds"]


def test_an_engine_that_answers_and_names_no_source_has_response_metrics_alone(rows: Rows) -> None:
    found = evaluate(ScriptedEngine(script={f"Where is {i}?": f"At {i}." for i in range(3)}), rows(3))
    assert values(found, "engine", "exact_match") == {"q0": 1.0, "q1": 1.0, "q2": 1.0}
    assert found.as_dict()["retrieval"] == {}
    assert "seconds" in found.as_dict()["response"]["questions"]["engine"]


def test_an_engine_that_raises_has_none_with_the_reason_and_the_rest_goes_on(rows: Rows) -> None:
    script = {
        "Where is 0?": ("at 0", ["0.md"]),
        "Where is 1?": ValueError("no such\n table"),
        "Where is 2?": ("no", []),
    }
    found = evaluate(ScriptedEngine(script=script), rows(3))
    failed = [score for score in found.scores.values if score.value is None]
    assert {score.qa_id for score in failed} == {"q1"}
    assert {score.reason for score in failed} == {"ValueError: no such table"}
    assert {score.metric for score in failed} == {*SETTINGS["retrieval"], *SETTINGS["response"]}
    cell = found.as_dict()["response"]["questions"]["engine"]["exact_match"]
    assert (cell["value"], cell["n"], cell["coverage"]) == (0.5, 2, pytest.approx(2 / 3))
    assert (cell["worst"], cell["best"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found.as_dict()["failures"] == [{"arm": "engine", "qa_id": "q1", "reason": "ValueError: no such table"}]
    assert values(found, "engine", "R@5") == {"q0": 1.0, "q1": None, "q2": 0.0}  # nothing found is a zero, though


def test_several_engines_are_held_against_the_first_on_what_both_have(rows: Rows) -> None:
    right = {f"Where is {i}?": (f"at {i}", [f"{i}.md"]) for i in range(20)}
    wrong = {q: ("at x", ["0.md", "1.md"]) for q in right} | {"Where is 0?": RuntimeError("gone")}
    found = evaluate({"old": ScriptedEngine(script=wrong), "new": ScriptedEngine(script=right)}, rows(20))
    verdicts = {row["metric"]: row for row in found.as_dict()["verdicts"]}
    assert {(row["arm"], row["against"], row["n"]) for row in verdicts.values()} == {("new", "old", 19)}
    assert verdicts["exact_match"]["decision"] == "better"
    mine = [values(found, arm, "R@5") for arm in ("new", "old")]
    cluster = {f"q{i}": f"{i}.md" for i in range(20)}
    ours, theirs = ({q: v for q, v in column.items() if v is not None} for column in mine)
    expected = compare(ours, theirs, Resampling(cluster, 0, 200))
    assert verdicts["R@5"]["delta"] == pytest.approx(expected.delta)
    assert (verdicts["R@5"]["ci_low"], verdicts["R@5"]["ci_high"]) == (expected.ci_low, expected.ci_high)
    assert str(found).count("\n") > 8
    assert "better" in str(found)
    assert repr(found) == "<Evaluation of old, new on 20 questions>"
    assert {row["decision"] for row in found.not_worse(0.05) if row["metric"] == "exact_match"} == {"not worse"}


def test_questions_about_one_document_are_one_cluster(rows: Rows) -> None:
    asked = [row | {"topics": ["same.md"]} for row in rows(6)]
    script = {row["question"]: ["same.md"] for row in asked}
    found = evaluate({"a": ScriptedRetriever(script), "b": ScriptedRetriever(script)}, asked)
    assert {(row["ci_low"], row["ci_high"], row["p"]) for row in found.as_dict()["verdicts"]} == {(-1.0, 1.0, 1.0)}
    assert found.as_dict()["question_sets"]["questions"]["documents"] == 1


def test_a_stream_is_read_and_an_empty_response_is_no_answer(rows: Rows) -> None:
    class Streaming(CustomQueryEngine):
        def custom_query(self, query_str: str) -> Any:
            if query_str == "Where is 1?":
                return Response(response=None)
            return StreamingResponse(response_gen=iter(["at ", "0"]), source_nodes=[])

    found = evaluate(Streaming(), rows(2))
    assert [item.answer for item in found.answered] == ["at 0", None]
    assert values(found, "engine", "token_f1") == {"q0": 1.0, "q1": None}


def test_records_are_the_projects_own(rows: Rows, tmp_path: Path) -> None:
    found = evaluate(
        ScriptedEngine(script={"Where is 0?": ("at 0", [node("a text", "n1", "0.md")])}), rows(1), folder=tmp_path
    )
    assert found.answered == (
        Answered("q0", "engine", (("0.md", 1.0),), ("a text",), "at 0", found.answered[0].seconds),
    )
    assert read_jsonl(tmp_path / "questions-questions.jsonl", QAPair) == list(found.questions)
    assert read_jsonl(tmp_path / "questions-answered.jsonl", Answered) == list(found.answered)
    assert read_jsonl(tmp_path / "questions-scores.jsonl", Score) == list(found.scores.values)
    assert json.loads((tmp_path / "summary.json").read_text()) == found.as_dict()


def test_a_call_that_was_cut_off_goes_on_and_failures_are_asked_again(rows: Rows, tmp_path: Path) -> None:
    script: dict[str, Any] = {f"Where is {i}?": [f"{i}.md"] for i in range(5)}
    cut = ScriptedRetriever(script | {"Where is 1?": ValueError("later"), "Where is 3?": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        evaluate(cut, rows(5), folder=tmp_path)
    whole = ScriptedRetriever(script)
    found = evaluate(whole, rows(5), folder=tmp_path)
    assert whole.asked == ["Where is 1?", "Where is 3?", "Where is 4?"]
    again = evaluate(ScriptedRetriever({}), rows(5), folder=tmp_path)
    assert again.scores == found.scores
    assert again.answered == found.answered
    changed = [row | {"question": row["question"] + " Now?"} for row in rows(5)]
    other = ScriptedRetriever({row["question"]: ["0.md"] for row in changed})
    evaluate(other, changed, folder=tmp_path)
    assert len(other.asked) == 5  # another text is another question


def test_several_at_once_give_the_same_and_are_faster(rows: Rows) -> None:
    class Slow(ScriptedRetriever):
        def _retrieve(self, query_bundle: Any) -> Any:
            time.sleep(0.1)
            return super()._retrieve(query_bundle)

    script: dict[str, Any] = {f"Where is {i}?": [f"{i}.md", "0.md"] for i in range(16)}
    script["Where is 7?"] = ValueError("seven")
    began = time.monotonic()
    found = evaluate(Slow(script), rows(16), workers=8)
    assert time.monotonic() - began < 1.2
    assert found.scores == evaluate(ScriptedRetriever(script), rows(16)).scores


def test_the_order_of_the_questions_changes_no_figure(rows: Rows) -> None:
    script = {f"Where is {i}?": [f"{i % 3}.md", f"{i}.md"] for i in range(9)}
    engines = {"a": ScriptedRetriever(script), "b": ScriptedRetriever({q: d[::-1] for q, d in script.items()})}
    found, turned = (evaluate(engines, asked).as_dict() for asked in (rows(9), rows(9)[::-1]))
    assert found["verdicts"] == turned["verdicts"]


def test_progress_is_told(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    raglift.evaluate(ScriptedRetriever({f"Where is {i}?": [f"{i}.md"] for i in range(3)}), rows(3), settings=SETTINGS)
    shown = capsys.readouterr().err
    assert "asking engine: 3 questions" in shown
    assert "scoring: 6 scores" in shown


@pytest.mark.parametrize("answering", [True, False])
def test_where_every_question_fails_there_is_nothing_to_score(rows: Rows, answering: bool) -> None:
    script = {f"Where is {i}?": ConnectionError("refused") for i in range(3)}
    engine = ScriptedEngine(script=script) if answering else ScriptedRetriever(script)
    with pytest.raises(UserError, match="Every question failed") as caught:
        evaluate(engine, rows(3))
    assert "ConnectionError: refused" in caught.value.why


def test_one_engine_of_two_may_fail_throughout(rows: Rows) -> None:
    broken = ScriptedRetriever({f"Where is {i}?": ConnectionError("refused") for i in range(3)})
    good = ScriptedRetriever({f"Where is {i}?": [f"{i}.md"] for i in range(3)})
    found = evaluate({"broken": broken, "good": good}, rows(3))
    assert values(found, "broken", "R@5") == {"q0": None, "q1": None, "q2": None}
    assert {row["decision"] for row in found.as_dict()["verdicts"]} == {"cannot tell"}
    assert not any(s.reason == NO_RANKING for s in found.scores.values)
    assert "none scored" in str(found)


def test_what_is_no_engine_or_setting_is_refused(rows: Rows) -> None:
    good = ScriptedRetriever({})
    for engine, settings, message in (
        (object(), SETTINGS, "cannot be evaluated"),
        ({}, SETTINGS, "no engine"),
        (good, {"retrieval": ["nDGC@10"]}, "nDGC@10"),
        (good, {"metrics": []}, "metrics"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(engine, rows(1), settings=settings)
    with pytest.raises(UserError, match="at once"):
        evaluate(good, rows(1), workers=0)
    with pytest.raises(UserError, match="own settings"):
        raglift.evaluate("a-run", "a-set", folder="x")  # type: ignore[call-overload]


def test_without_its_model_semantic_similarity_is_left_out_or_refused(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(script={"Where is 0?": "at 0"})
    absent = {"similarity_model": "./no-such-folder", "resamples": 100}
    found = raglift.evaluate(engine, rows(1), settings=absent)
    assert "semantic_similarity is left out" in capsys.readouterr().err
    assert "semantic_similarity" not in found.as_dict()["response"]["questions"]["engine"]
    asked = len(engine.asked)
    with pytest.raises(UserError, match="no model"):
        raglift.evaluate(engine, rows(1), settings={**absent, "response": ["semantic_similarity"]}, quiet=True)
    assert len(engine.asked) == asked, "it is refused before anything is paid for"


def test_semantic_similarity_by_a_model_of_the_users(rows: Rows, tiny_embedding: Path) -> None:
    settings = {"similarity_model": str(tiny_embedding), "response": ["semantic_similarity"], "resamples": 100}
    found = evaluate(ScriptedEngine(script={"Where is 0?": "at 0"}), rows(1), settings=settings)
    assert values(found, "engine", "semantic_similarity") == {"q0": pytest.approx(1.0, abs=1e-4)}


def test_metrics_keep_their_own_scales(rows: Rows) -> None:
    """Less is better of one, neither of another; a citation names what the engine retrieved."""
    asked = [*rows(12), *({"id": f"n{i}", "question": f"Who is {i}?", "answer": None} for i in range(12))]
    found_at = {f"Where is {i}?": [f"{i}.md", "x.md"] for i in range(12)} | {
        f"Who is {i}?": ["x.md"] for i in range(12)
    }
    bold = {q: ("It is there [2].", names) for q, names in found_at.items()}
    wise = {q: ("It is there [1]." if q < "Who" else "I do not know.", names) for q, names in found_at.items()}
    settings = {**SETTINGS, "response": ["wrongly_answered", "answer_length", "citation_precision"]}
    engines = {"bold": ScriptedEngine(script=bold), "wise": ScriptedEngine(script=wise)}
    found = evaluate(engines, asked, settings=settings)
    verdicts = {row["metric"]: row for row in found.as_dict()["verdicts"]}
    assert (verdicts["wrongly_answered"]["delta"], verdicts["wrongly_answered"]["decision"]) == (-1.0, "better")
    assert verdicts["citation_precision"]["delta"] == 1.0
    assert "answer_length" not in verdicts
    assert "answer_length" in found.as_dict()["response"]["questions"]["wise"]
    assert raglift.assert_lift(found, "wrongly_answered", at_least=0.9).delta == -1.0
    raglift.assert_lift(found, "wrongly_answered", at_least=-0.02, decision="not worse")
    with pytest.raises(AssertionError):
        raglift.assert_lift(found, "wrongly_answered", arm="bold", against="wise")
    with pytest.raises(UserError, match="answer_length"):
        raglift.assert_lift(found, "answer_length")
    assert {row["metric"] for row in found.not_worse(0.1)} == {
        "nDCG@10",
        "R@5",
        "wrongly_answered",
        "citation_precision",
    }
    assert "answer_length" in str(found)


class FewAtOnce(LiftRetriever):
    """A retriever of raglift's that says how many questions it was put at once, and fails on some."""

    def __init__(self, script: dict[str, list[str]], failing: str = "") -> None:
        BaseRetriever.__init__(self)
        self.script, self.failing, self.batches = script, failing, list[list[str]]()

    def retrieve_batch(self, questions: Any) -> list[list[NodeWithScore]]:
        texts = [asked if isinstance(asked, str) else asked.query_str for asked in questions]
        self.batches.append(texts)
        if self.failing in texts:
            raise RuntimeError("a vector is missing")
        return [[NodeWithScore(node=node(name, document=name), score=1.0) for name in self.script[t]] for t in texts]


def test_raglifts_own_retriever_is_put_many_questions_at_once(rows: Rows) -> None:
    script = {f"Where is {i}?": [f"{i % 30}.md"] for i in range(264)}
    batched, single = FewAtOnce(script), ScriptedRetriever(script)
    found = evaluate(batched, rows(264))
    assert [len(batch) for batch in batched.batches] == [256, 8]
    assert values(found, "engine", "nDCG@10") == values(evaluate(single, rows(264)), "engine", "nDCG@10")


def test_a_retriever_made_of_raglifts_that_finds_in_its_own_way_is_asked_so(rows: Rows) -> None:
    class Own(FewAtOnce):
        def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
            return super().retrieve_batch([query_bundle])[0][:0]

    script = {f"Where is {i}?": [f"{i}.md"] for i in range(3)}
    own = Own(script)
    assert values(evaluate(own, rows(3)), "engine", "R@5") == {"q0": 0.0, "q1": 0.0, "q2": 0.0}
    assert [len(batch) for batch in own.batches] == [1, 1, 1]


def test_a_reply_that_is_kept_outlives_a_later_failure_in_its_batch(rows: Rows, tmp_path: Path) -> None:
    script = {f"Where is {i}?": [f"{i}.md"] for i in range(5)}
    evaluate(FewAtOnce(script, failing="Where is 3?"), rows(5), folder=tmp_path)
    again = evaluate(FewAtOnce(script, failing="Where is 1?"), rows(5), folder=tmp_path)
    assert values(again, "engine", "R@5") == dict.fromkeys(("q0", "q1", "q2", "q3", "q4"), 1.0)
    assert again.answered == evaluate(FewAtOnce({}), rows(5), folder=tmp_path).answered


def test_a_question_on_which_a_batch_fails_is_found_and_the_others_count(rows: Rows) -> None:
    retriever = FewAtOnce({f"Where is {i}?": [f"{i}.md"] for i in range(5)}, failing="Where is 3?")
    found = values(evaluate(retriever, rows(5)), "engine", "R@5")
    assert found == {"q0": 1.0, "q1": 1.0, "q2": 1.0, "q3": None, "q4": 1.0}


def test_what_was_cut_off_is_put_in_the_batches_of_a_call_that_was_not(rows: Rows, tmp_path: Path) -> None:
    script = {f"Where is {i}?": [f"{i}.md"] for i in range(264)}
    evaluate(FewAtOnce(script, failing="Where is 259?"), rows(264), folder=tmp_path)
    again = FewAtOnce(script)
    found = evaluate(again, rows(264), folder=tmp_path)
    assert again.batches == [[f"Where is {i}?" for i in range(256, 264)]]
    assert len(found.answered) == 264
