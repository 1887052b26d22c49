"""A judge's question as a LlamaIndex evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.evaluation import BaseEvaluator, EvaluationResult
from llama_index.core.prompts.mixin import PromptDictType

from raglift import plugins
from raglift.judging.items import Item
from raglift.judging.judge import Judge
from raglift.judging.questions._base import JudgeQuestion


class JudgeEvaluator(BaseEvaluator):
    """Asks a judge one question, wherever LlamaIndex takes an evaluator, its batch runner included.

    A verdict that could not be had is an invalid result with its reason, never a zero.

    Args:
        judge: The judge; test it with `raglift.judging.health.examine` before you believe it.
        question: A name, or an object with settings of your own.

    Raises:
        UserError: There is no such question.

    Example:
        >>> evaluator = JudgeEvaluator(Judge(llm), "faithfulness")
        >>> evaluator.evaluate_response(query, engine.query(query)).passing
        True
    """

    def __init__(self, judge: Judge, question: JudgeQuestion | str) -> None:
        self._judge = judge
        self._question: JudgeQuestion = (
            plugins.load("judge question", question)() if isinstance(question, str) else question
        )

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        """There are none to change: the judge is tested with a question's own wording."""

    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        reference: str | None = None,
        second_response: str | None = None,
        **kwargs: Any,
    ) -> EvaluationResult:
        """The verdict: `score` in [0, 1], `passing` where it is 1, `feedback` the probability where there is one.

        Args:
            reference: A right answer, for questions that compare with one.
            second_response: Another answer, for `pairwise`.
        """
        references = (reference,) if reference else ()
        item = Item("", query or "", response, references, tuple(contexts or ()), second_response)
        (said,) = self._judge.judge(self._question, [item])
        return EvaluationResult(
            query=query,
            response=response,
            contexts=contexts,
            score=said.value,
            passing=None if said.value is None else said.value == 1.0,
            feedback=None if said.probability is None else f"probability {said.probability:.3f}",
            invalid_result=said.value is None,
            invalid_reason=said.reason or None,
        )
