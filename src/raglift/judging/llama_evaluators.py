"""LlamaIndex's own evaluators as metrics of the same records, behind guards against what they get wrong.

Found in llama-index-core 0.14; `tests/judging/test_llama_evaluators.py` shows each on the installed version:

- faithfulness and relevancy pass every reply that holds the letters "yes": "No. Yesterday ..." passes;
- the same two judge "Empty Response" where there is no passage, without asking the model;
- correctness raises on a score without a reasoning under it, and takes scores outside of 1 to 5;
- answer relevancy and context relevancy divide whatever digit they find, and exceed 1;
- the batch runner tries what raises three times, seconds apart, then drops all results of the batch;
- the table of results counts a score that could not be had as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from llama_index.core.prompts.mixin import PromptDictType

from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Item
from raglift.judging.parsing import parse_label
from raglift.judging.questions._base import NO_CONTEXT
from raglift.records import Score

Read = Callable[[EvaluationResult], tuple[float | None, str]]
"""A result as a value in [0, 1] or None, and why none."""

_BY_YES = (FaithfulnessEvaluator, RelevancyEvaluator)
_OF_CONTEXTS = (FaithfulnessEvaluator, RelevancyEvaluator, ContextRelevancyEvaluator)
_OF_REFERENCES = (CorrectnessEvaluator, SemanticSimilarityEvaluator)


class Guarded(BaseEvaluator):
    """An evaluator that neither raises nor guesses: what it cannot tell is an invalid result with its reason.

    Scores lie in [0, 1]. It can stand wherever LlamaIndex takes an evaluator, the batch runner included.

    Args:
        evaluator: Any of LlamaIndex's.

    Example:
        >>> Guarded(FaithfulnessEvaluator(llm=llm)).evaluate(response="It is blue.", contexts=["It is blue."]).score
        1.0
    """

    def __init__(self, evaluator: BaseEvaluator) -> None:
        self.evaluator = evaluator
        if isinstance(evaluator, CorrectnessEvaluator):
            evaluator.parser_function = _one_to_five

    def _get_prompts(self) -> PromptDictType:
        return self.evaluator._get_prompts()

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self.evaluator._update_prompts(prompts)

    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> EvaluationResult:
        """What the evaluator says, read strictly."""
        reason = self._missing(response, contexts, kwargs)
        if reason:
            return _invalid(query, response, contexts, reason)
        try:
            found = await self.evaluator.aevaluate(query=query, response=response, contexts=contexts, **kwargs)
        except Exception as error:  # its parsers raise what they like
            told = " ".join(str(error).split())[:120]
            return _invalid(query, response, contexts, f"{type(error).__name__}: {told}")
        value, reason = self._read(found)
        if value is None:
            return _invalid(query, response, contexts, reason, found.feedback)
        passing = found.passing if not isinstance(self.evaluator, _BY_YES) else value == 1.0
        return found.model_copy(update={"score": value, "passing": passing, "contexts": contexts})

    def _missing(self, response: str | None, contexts: Sequence[str] | None, given: Mapping[str, Any]) -> str:
        """Why there is nothing to ask; empty if there is."""
        if not isinstance(self.evaluator, ContextRelevancyEvaluator) and (response is None or not response.strip()):
            return NO_ANSWER
        if isinstance(self.evaluator, _OF_CONTEXTS) and not any(text.strip() for text in contexts or ()):
            return NO_CONTEXT
        return NO_REFERENCE if isinstance(self.evaluator, _OF_REFERENCES) and not given.get("reference") else ""

    def _read(self, found: EvaluationResult) -> tuple[float | None, str]:
        if found.invalid_result:
            return None, found.invalid_reason or "invalid"
        if isinstance(self.evaluator, _BY_YES):
            label, reason = parse_label(found.feedback or "", ("Yes", "No"))
            return None if label is None else float(label == "Yes"), reason
        if found.score is None or not math.isfinite(found.score):
            return None, f"no score: {' '.join((found.feedback or '').split())[:60]!r}"
        score = (found.score - 1) / 4 if isinstance(self.evaluator, CorrectnessEvaluator) else float(found.score)
        if isinstance(self.evaluator, SemanticSimilarityEvaluator):
            return min(max(score, 0.0), 1.0), ""  # a cosine: rounding above 1, and "unrelated" below 0
        if isinstance(self.evaluator, AnswerRelevancyEvaluator | ContextRelevancyEvaluator) and not 0 <= score <= 1:
            return None, f"a score of {score:g}, outside of 0 to 1"
        return score, ""


def score_with(
    evaluators: Mapping[str, BaseEvaluator], items: Sequence[Item], arm: str, workers: int = 2
) -> list[Score]:
    """One score an item and evaluator, by LlamaIndex's batch runner over guarded evaluators.

    Args:
        evaluators: Metric -> evaluator.
        items: What is judged; the first reference is the one that is compared with.
        arm: Whose answers they are.
        workers: Calls under way at once.

    Example:
        >>> score_with({"faithfulness": FaithfulnessEvaluator(llm=llm)}, items, "base")
        [Score(metric='faithfulness', qa_id='q1', arm='base', value=1.0, reason='')]
    """
    if not items or not evaluators:
        return []
    guarded = {name: each if isinstance(each, Guarded) else Guarded(each) for name, each in evaluators.items()}
    references = [next((text for text in item.references if text.strip()), "") for item in items]
    wanted = {name: {"reference": references} for name, each in guarded.items() if _takes_reference(each)}
    found: dict[str, list[EvaluationResult]] = BatchEvalRunner(dict(guarded), workers=workers).evaluate_response_strs(
        [item.question for item in items],
        [item.answer or "" for item in items],
        [list(item.contexts) for item in items],
        **wanted,
    )
    return [
        Score(name, item.id, arm, None if result.invalid_result else result.score, result.invalid_reason or "")
        for name in evaluators
        for item, result in zip(items, found[name], strict=True)
    ]


def _takes_reference(guarded: Guarded) -> bool:
    return isinstance(guarded.evaluator, _OF_REFERENCES)


def _one_to_five(reply: str) -> tuple[float | None, str | None]:
    """LlamaIndex's form of a reply, a score on a line of its own, with or without a reasoning under it."""
    first, _, rest = reply.strip().partition("\n")
    try:
        score = float(first)
    except ValueError:
        return None, reply
    return (score, rest.strip()) if 1 <= score <= 5 else (None, reply)


def _invalid(
    query: str | None, response: str | None, contexts: Sequence[str] | None, reason: str, feedback: str | None = None
) -> EvaluationResult:
    return EvaluationResult(
        query=query,
        response=response,
        contexts=contexts,
        invalid_result=True,
        invalid_reason=reason,
        feedback=feedback,
    )
