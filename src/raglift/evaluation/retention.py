"""What a tuned model has kept of its base: each figure paired, with its interval and a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from raglift.errors import UserError
from raglift.evaluation.inference import NonInferiority, noninferiority
from raglift.evaluation.scale import finite
from raglift.evaluation.statistics import Resampling, compare, decide, holm
from raglift.records import Score

BASE, TUNED = "base", "tuned"
"""The arms of the scores."""
MARGIN = 0.05
"""One question in twenty; of a loss in nats a token, five percent of perplexity."""
LOSS = "loss"
"""The metric of which less is better, without an upper bound; all others lie in [0, 1]."""
_WORTH_LOSING = 2.0
"""A base whose mean is not so many margins would pass for remembered after it lost half of what it has."""

Kept = Literal["forgot", "no worse", "cannot tell"]

_WHY = {
    "forgot": "it is worse for certain, and perhaps by more than the margin",
    "no worse": "what it may have lost is less than the margin for certain",
    "cannot tell": "it may have lost nothing, and it may have lost more than the margin",
}
NOTHING_SCORED = "no score of both models"
TOO_LITTLE = "the base has too little to lose: half of it would be within the margin"


@dataclass(frozen=True, slots=True)
class Retained:
    """One figure of a tuned model beside its base's.

    Attributes:
        base: The base's mean over the items that both models have a score of; None where there is none.
        tuned: The tuned model's.
        gain: Tuned minus base, turned so that below 0 is a loss whatever the metric.
        ci_low: With `ci_high` its 95% interval; None where nothing bounds it.
        p: Two-sided, that there is no difference, corrected by Holm's method over the figures given together.
        n: Items that both models have a score of.
        clusters: Documents that these are about.
        coverage: `n` as a share of all items.
        decision: "no worse": the loss is smaller than the margin for certain. "forgot": there is a loss for certain,
            and not one that is shown to be smaller than the margin. Else "cannot tell".
        why: The decision in words.
    """

    question_set: str
    metric: str
    better: Literal["higher", "lower"]
    base: float | None
    tuned: float | None
    gain: float
    ci_low: float | None
    ci_high: float | None
    p: float
    margin: float
    n: int
    clusters: int
    coverage: float
    decision: Kept
    why: str


def check_margin(margin: float) -> None:
    """Refuse a margin that decides nothing, before anything is measured.

    Raises:
        UserError: It is not above 0 and below 1.
    """
    if not 0 < margin < 1:
        raise UserError(
            f"The margin {margin!r} decides nothing.",
            "It is the largest loss that does not matter, of scores between 0 and 1.",
            f"Give a number above 0 and below 1; the default is {MARGIN}.",
        )


def retained(
    scores: Iterable[Score], question_set: str, metrics: Sequence[str], margin: float, resampling: Resampling
) -> list[Retained]:
    """The figures of one tuned model on one set, one a metric.

    Args:
        scores: Of the arms `BASE` and `TUNED`.
        margin: The largest loss that does not matter, above 0; nats a token for `LOSS`.
        resampling: What is drawn anew; its clusters are the documents that the items are about.

    Raises:
        UserError: The margin is not above 0.
    """
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    for score in scores:
        values.setdefault((score.metric, score.arm), {})[score.qa_id] = score.value
    pairs = [(values.get((metric, BASE), {}), values.get((metric, TUNED), {})) for metric in metrics]
    tested = [_tested(metric, *pair, margin, resampling) for metric, pair in zip(metrics, pairs, strict=True)]
    adjusted = holm([p for _, p in tested])
    return [
        _retained(question_set, metric, pair, found, p)
        for metric, pair, (found, _), p in zip(metrics, pairs, tested, adjusted, strict=True)
    ]


def _tested(
    metric: str,
    base: Mapping[str, float | None],
    tuned: Mapping[str, float | None],
    margin: float,
    resampling: Resampling,
) -> tuple[NonInferiority, float]:
    """The difference against the margin, and p of no difference at all."""
    ours, theirs = _scored(tuned), _scored(base)
    span, higher = (inf, False) if metric == LOSS else (1.0, True)
    found = noninferiority(ours, theirs, margin, resampling, higher_is_better=higher, span=span)
    return found, compare(ours, theirs, resampling, span=span).p


def _scored(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None and isfinite(value)}


def _retained(
    question_set: str,
    metric: str,
    pair: tuple[Mapping[str, float | None], Mapping[str, float | None]],
    found: NonInferiority,
    p: float,
) -> Retained:
    base, tuned = (_scored(values) for values in pair)
    common = sorted(base.keys() & tuned.keys())
    before, after = (sum(each[name] for name in common) / len(common) if common else None for each in (base, tuned))
    decision, why = _decision(metric, before, found, p)
    items = len(pair[0].keys() | pair[1].keys())
    return Retained(
        question_set,
        metric,
        "lower" if metric == LOSS else "higher",
        before,
        after,
        found.delta,
        finite(found.ci_low),
        finite(found.ci_high),
        p,
        found.margin,
        found.n,
        found.clusters,
        found.n / items if items else 0.0,
        decision,
        why,
    )


def _decision(metric: str, base: float | None, found: NonInferiority, p: float) -> tuple[Kept, str]:
    if base is None:
        return "cannot tell", NOTHING_SCORED
    kept: Kept = "cannot tell"
    if found.decision == "not worse":
        if metric != LOSS and base <= _WORTH_LOSING * found.margin:
            return "cannot tell", TOO_LITTLE
        kept = "no worse"
    elif decide(found.ci_low, found.ci_high, p) == "worse":
        kept = "forgot"
    return kept, _WHY[kept]
