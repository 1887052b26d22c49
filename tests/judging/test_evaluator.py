"""A judge's question wherever LlamaIndex takes an evaluator."""

from __future__ import annotations

import pytest
from llama_index.core.base.response.schema import Response
from llama_index.core.evaluation import BatchEvalRunner
from llama_index.core.schema import NodeWithScore, TextNode

from raglift.errors import UserError
from raglift.judging.evaluator import JudgeEvaluator
from raglift.judging.judge import Judge
from raglift.judging.questions.guideline import Guideline
from tests.judging.judges import ScriptedLLM, part


def supports(prompt: str) -> str:
    return "Yes" if part(prompt, "answer") in part(prompt, "passages") else "No"


def test_a_response_is_judged_against_its_sources() -> None:
    evaluator = JudgeEvaluator(Judge(ScriptedLLM(supports)), "faithfulness")
    nodes = [NodeWithScore(node=TextNode(text="The book is blue."))]
    good = evaluator.evaluate_response("What?", Response("The book is blue.", source_nodes=nodes))
    bad = evaluator.evaluate_response("What?", Response("The book is red.", source_nodes=nodes))
    assert (good.score, good.passing, bad.score, bad.passing) == (1.0, True, 0.0, False)
    none = evaluator.evaluate_response("What?", Response("The book is red.", source_nodes=[]))
    assert (none.score, none.passing, none.invalid_result, none.invalid_reason) == (None, None, True, "no passages")


def test_it_works_in_the_batch_runner() -> None:
    judge = Judge(ScriptedLLM(lambda prompt: "Yes" if "brief" in prompt else "it depends"))
    evaluators = {
        "brief": JudgeEvaluator(judge, Guideline(text="Be brief.")),
        "relevant": JudgeEvaluator(judge, "answer_relevance"),
    }
    found = BatchEvalRunner(evaluators).evaluate_response_strs(["a", "b"], ["x", "y"])
    assert [each.score for each in found["brief"]] == [1.0, 1.0]
    assert [each.invalid_reason for each in found["relevant"]] == ["not a label alone: 'it depends'"] * 2


def test_two_answers_are_compared() -> None:
    judge = Judge(ScriptedLLM(lambda prompt: "A" if part(prompt, "answer_A") == "blue" else "B"))
    evaluator = JudgeEvaluator(judge, "pairwise")
    asked = {"query": "What?", "reference": "blue"}
    assert evaluator.evaluate(**asked, response="blue", second_response="red").score == 1.0
    assert evaluator.evaluate(**asked, response="red", second_response="blue").score == 0.0


def test_a_question_that_is_not_there_is_explained() -> None:
    with pytest.raises(UserError, match="no judge question called 'faithfullness'"):
        JudgeEvaluator(Judge(ScriptedLLM(supports)), "faithfullness")
