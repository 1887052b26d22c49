"""Scores of one arm's answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from raglift import plugins
from raglift.evaluation.judgements import Passage
from raglift.evaluation.metrics._base import Embed, Reply, ResponseMetric, Value
from raglift.records import QAPair, Score


def score_answers(
    questions: Sequence[QAPair],
    answers: Mapping[str, str | None],
    metrics: Sequence[str],
    arm: str,
    embed: Embed,
    advance: Callable[[int], None] = lambda _: None,
    shown: Mapping[str, Sequence[Passage]] = MappingProxyType({}),
) -> list[Score]:
    """One score a metric and question, in that order, within the bounds of the metric's scale.

    Args:
        answers: Question id -> what the arm answered; None or absent where it gave no answer.
        metrics: Names of response metrics.
        embed: n texts -> (n, d) L2-normalised rows, from one model that no arm tuned.
        advance: Told how many more scores are done.
        shown: Question id -> the passages that the arm answered from, in the order of their numbers; metrics of
            citations apply to nothing else.

    Raises:
        UserError: There is no such metric.
        ValueError: A metric gave a value outside of its own bounds, or not one value a question.
    """
    loaded: list[tuple[str, ResponseMetric]] = [(name, plugins.load("response metric", name)) for name in metrics]
    replies = [Reply(answers.get(question.id), shown.get(question.id, ())) for question in questions]
    scores: list[Score] = []
    for name, metric in loaded:
        for question, result in zip(questions, metric.score(questions, replies, embed), strict=True):
            found = _checked(metric, result)
            scores.append(Score(name, question.id, arm, found.value, found.reason))
        advance(len(questions))
    return scores


def _checked(metric: ResponseMetric, result: Value) -> Value:
    """The value if it is a number within the metric's bounds: means and intervals rest on them."""
    if result.value is None:
        return result
    if not math.isfinite(result.value):
        return Value(None, "not a finite number")
    if not metric.scale.low <= result.value <= metric.scale.high:
        raise ValueError(f"{metric.name} gave {result.value}, outside of {metric.scale.bounds}")
    return result
