"""LlamaIndex's evaluators: each defect of the installed version, and the guard against it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.evaluation import (
    AnswerRelevancyEvaluator,
    BaseEvaluator,
    BatchEvalRunner,
    ContextRelevancyEvaluator,
    CorrectnessEvaluator,
    EvaluationResult,
    FaithfulnessEvaluator,
    RelevancyEvaluator,
    SemanticSimilarityEvaluator,
)
from llama_index.core.evaluation.eval_utils import get_results_df

from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Item
from raglift.judging.llama_evaluators import Guarded, score_with
from raglift.judging.questions._base import NO_CONTEXT
from tests.judging.judges import ScriptedLLM

ARGUES = "No. Yesterday the report said otherwise."
ASKED: dict[str, Any] = {"query": "What colour?", "response": "Blue.", "contexts": ["The book is blue."]}
ITEM = Item("q1", "What colour?", "Blue.", ("blue",), ("The book is blue.",))


def says(text: str) -> ScriptedLLM:
    return ScriptedLLM(lambda prompt: text)


def both(make: Callable[[], BaseEvaluator], **asked: Any) -> tuple[EvaluationResult, EvaluationResult]:
    """What the evaluator says, as it is and guarded."""
    return make().evaluate(**asked), Guarded(make()).evaluate(**asked)


@pytest.mark.parametrize("kind", [FaithfulnessEvaluator, RelevancyEvaluator])
def test_a_no_that_holds_the_letters_yes_passes_there_and_is_unknown_here(kind: type[BaseEvaluator]) -> None:
    theirs, ours = both(lambda: kind(llm=says(ARGUES)), **ASKED)  # type: ignore[call-arg]
    assert (theirs.passing, theirs.score) == (True, 1.0)
    assert (ours.invalid_result, ours.score) == (True, None)
    assert "not a label alone: 'No. Yesterday" in str(ours.invalid_reason)
    for reply, value in (("YES", 1.0), ("no.", 0.0)):
        assert Guarded(kind(llm=says(reply))).evaluate(**ASKED).score == value  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [FaithfulnessEvaluator, RelevancyEvaluator])
def test_no_passage_is_a_zero_there_and_unknown_here(kind: type[BaseEvaluator]) -> None:
    llm = says("YES")
    theirs, ours = both(lambda: kind(llm=llm), query="What?", response="Blue.", contexts=[])  # type: ignore[call-arg]
    assert theirs.score == 0.0
    assert llm.asked == []
    assert (ours.score, ours.invalid_reason) == (None, NO_CONTEXT)


def test_a_score_alone_raises_there_and_is_read_here() -> None:
    with pytest.raises(ValueError, match="unpack"):
        CorrectnessEvaluator(llm=says("4.0")).evaluate(**ASKED, reference="blue")
    ours = Guarded(CorrectnessEvaluator(llm=says("4.0"))).evaluate(**ASKED, reference="blue")
    assert (ours.score, ours.passing) == (0.75, True)
    assert Guarded(CorrectnessEvaluator(llm=says("1\nWrong."))).evaluate(**ASKED, reference="blue").score == 0.0


@pytest.mark.parametrize("reply", ["9\nVery good.", "0\nBad.", "four\nGood.", "nan\nx"])
def test_a_score_out_of_its_range_counts_there_and_is_unknown_here(reply: str) -> None:
    theirs, ours = both(lambda: CorrectnessEvaluator(llm=says(reply)), **ASKED, reference="blue")
    assert ours.score is None
    assert ours.invalid_result
    if reply[0] in "90":
        assert theirs.score == float(reply[0])


@pytest.mark.parametrize(("kind", "score"), [(AnswerRelevancyEvaluator, 4.5), (ContextRelevancyEvaluator, 2.25)])
def test_a_score_above_one_counts_there_and_is_unknown_here(kind: type[BaseEvaluator], score: float) -> None:
    theirs, ours = both(lambda: kind(llm=says("Good. [RESULT] 9")), **ASKED)  # type: ignore[call-arg]
    assert theirs.score == score
    assert (ours.score, ours.invalid_reason) == (None, f"a score of {score:g}, outside of 0 to 1")
    fine = Guarded(kind(llm=says("Good. [RESULT] 1"))).evaluate(**ASKED)  # type: ignore[call-arg]
    assert fine.score == pytest.approx(1 / (4.5 / score * 2))


def test_one_error_drops_all_results_there_and_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = iter(["4.0", "4.0\nGood.", "2\nBad."] * 9)
    calls: list[str] = []

    def reply(prompt: str) -> str:
        calls.append(prompt)
        return "4.0" if "Red" in prompt else next(replies) + "\nwhy"

    async def at_once(seconds: float, *_: object) -> None:
        calls.append(f"slept {seconds}")

    monkeypatch.setattr("asyncio.sleep", at_once)
    runner = BatchEvalRunner({"correctness": CorrectnessEvaluator(llm=ScriptedLLM(reply))})
    asked: list[Any] = [["a", "b"], ["Red.", "Blue."]]
    with pytest.raises(ValueError, match="unpack"):
        runner.evaluate_response_strs(*asked)
    assert sum("Red" in call for call in calls) == 3
    assert "slept 4.0" in calls
    monkeypatch.undo()

    def breaks(prompt: str) -> str:
        if "Red" in prompt:
            raise ConnectionError("no route")
        return "5\nRight."

    items = [Item("r", "a", "Red.", ("red",)), Item("b", "b", "Blue.", ("blue",))]
    start = time.monotonic()
    found = score_with({"correctness": CorrectnessEvaluator(llm=ScriptedLLM(breaks))}, items, "base")
    assert time.monotonic() - start < 3
    assert [(score.value, score.reason) for score in found] == [(None, "ConnectionError: no route"), (1.0, "")]


def test_an_unknown_score_is_a_zero_in_their_table_and_none_in_our_records() -> None:
    pytest.importorskip("pandas")
    results = [EvaluationResult(score=1.0), EvaluationResult(invalid_result=True)]
    assert get_results_df([{"m": results}], ["arm"], ["m"])["m"][0] == 0.5
    items = [ITEM, Item("q2", "What?", "Red.", ("red",), ())]
    found = score_with({"faithfulness": FaithfulnessEvaluator(llm=says("yes"))}, items, "base")
    assert [(score.qa_id, score.value, score.reason) for score in found] == [("q1", 1.0, ""), ("q2", None, NO_CONTEXT)]


def test_several_evaluators_give_a_score_an_item_each() -> None:
    similar = SemanticSimilarityEvaluator(embed_model=MockEmbedding(embed_dim=4))
    evaluators = {
        "faithfulness": FaithfulnessEvaluator(llm=says("YES")),
        "similarity": similar,
        "correctness": Guarded(CorrectnessEvaluator(llm=says("3\nHalf."))),
    }
    items = [ITEM, Item("q2", "What?", None), Item("q3", "What?", "Red.", (), ("Red.",))]
    found = {(score.metric, score.qa_id): score for score in score_with(evaluators, items, "tuned_both", workers=3)}
    assert len(found) == 9
    assert {score.arm for score in found.values()} == {"tuned_both"}
    assert found["faithfulness", "q1"].value == 1.0
    assert found["similarity", "q1"].value == pytest.approx(1.0)
    assert found["correctness", "q1"].value == 0.5
    assert {found[metric, "q2"].reason for metric in evaluators} == {NO_ANSWER}
    assert found["similarity", "q3"].reason == found["correctness", "q3"].reason == NO_REFERENCE
    assert score_with(evaluators, [], "base") == []
    assert score_with({}, items, "base") == []


def test_a_cosine_is_cut_to_zero_and_one() -> None:
    for cosine, value in ((1.0000002, 1.0), (-0.4, 0.0), (0.3, 0.3)):
        made = SemanticSimilarityEvaluator(
            embed_model=MockEmbedding(embed_dim=4),
            similarity_fn=lambda a, b, cosine=cosine: cosine,  # type: ignore[misc]
        )
        assert Guarded(made).evaluate(**ASKED, reference="blue").score == value
