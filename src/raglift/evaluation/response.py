"""Scores of one arm's answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from raglift import plugins
from raglift.evaluation.metrics._base import Embed, ResponseMetric
from raglift.records import QAPair, Score


def score_answers(
    questions: Sequence[QAPair],
    answers: Mapping[str, str | None],
    metrics: Sequence[str],
    arm: str,
    embed: Embed,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """One score a metric and question, in that order.

    Args:
        answers: Question id -> what the arm answered; None or absent where it gave no answer.
        metrics: Names of response metrics.
        embed: n texts -> (n, d) L2-normalised rows, from one model that no arm tuned.
        advance: Told how many more scores are done.

    Raises:
        UserError: There is no such metric.
    """
    loaded: list[tuple[str, ResponseMetric]] = [(name, plugins.load("response metric", name)) for name in metrics]
    texts = [answers.get(question.id) for question in questions]
    scores: list[Score] = []
    for name, metric in loaded:
        for question, result in zip(questions, metric.score(questions, texts, embed), strict=True):
            if result.value is not None and not math.isfinite(result.value):
                scores.append(Score(name, question.id, arm, None, "not a finite number"))
            else:
                scores.append(Score(name, question.id, arm, result.value, result.reason))
        advance(len(questions))
    return scores
