"""What else a table of differences is asked: whether an arm is no worse, how many questions a difference needs, and
how much of it is one training's luck.

As in `statistics`, everything is paired by question and clustered by document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Literal

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

from raglift.errors import UserError
from raglift.evaluation.statistics import Floats, Resampling, by_cluster, compare, sign_flip_p, standard_error

_TAIL = 0.025
_MOST_CLUSTERS = 10_000_000
"""More documents than that stand for "no number is enough"."""


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether one arm is worse than another by less than a margin.

    `delta` and its 95% interval are what `compare` gives; `p` is one-sided, of the hypothesis that the arm is worse by
    `margin` or more, and "not worse" asks for p of at most 0.025, which is the level of one end of the interval.
    """

    delta: float
    ci_low: float
    ci_high: float
    margin: float
    p: float
    n: int
    clusters: int
    decision: Literal["not worse", "worse", "cannot tell"]


def noninferiority(
    a: Mapping[str, float],
    b: Mapping[str, float],
    margin: float,
    resampling: Resampling,
    *,
    higher_is_better: bool = True,
    span: float = 1.0,
) -> NonInferiority:
    """Test that `a` is no worse than `b` by more than `margin` (Wellek 2010, chapter 2).

    "not worse" where the interval's lower end lies above -margin and the one-sided sign-flip test on the differences
    shifted by `margin` agrees; "worse" where the whole interval lies below -margin; else "cannot tell". Where less is
    better, the signs are turned first, and `delta` with them.

    Args:
        a: Question id -> value of the arm.
        b: Question id -> value of the arm that it is held against.
        margin: The largest loss that does not matter, above 0; to be chosen before the scores are seen.
        span: The largest difference that the metric allows: 1 for a metric in [0, 1].

    Raises:
        UserError: The margin is not a number above 0.
    """
    if not 0 < margin < inf:
        raise UserError(
            f"The margin {margin!r} says nothing.",
            "Being no worse is always meant up to the largest loss that does not matter.",
            "Give a number above 0, such as 0.02.",
        )
    ours, theirs = (a, b) if higher_is_better else (b, a)
    found = compare(ours, theirs, resampling, span=span)
    shifted = {qa_id: ours[qa_id] - theirs[qa_id] + margin for qa_id in ours.keys() & theirs.keys()}
    sums, _ = by_cluster(shifted, resampling.cluster)
    p = sign_flip_p(sums, resampling, greater=True) if found.clusters > 1 else 1.0
    decision: Literal["not worse", "worse", "cannot tell"] = "cannot tell"
    if found.ci_low > -margin and p <= _TAIL:
        decision = "not worse"
    elif found.ci_high < -margin:
        decision = "worse"
    numbers = (found.delta, found.ci_low, found.ci_high, margin, p, found.n, found.clusters)
    return NonInferiority(*numbers, decision)


@dataclass(frozen=True, slots=True)
class Needed:
    """How many questions would show a difference.

    `questions` over `clusters` documents, with as many questions a document as now; both None where no number is
    enough. `design_effect` is how many times the variance of the mean is that of as many questions about as many
    documents (Kish 1965, section 5.4).
    """

    difference: float
    power: float
    questions: int | None
    clusters: int | None
    design_effect: float


def questions_needed(
    a: Mapping[str, float],
    b: Mapping[str, float],
    resampling: Resampling,
    *,
    difference: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Needed:
    """How many questions like these a two-sided test needs to find a difference with the given power.

    The power of the t test over documents, from the noncentral t distribution (Cohen 1988, section 2.5), at the
    cluster-robust standard error of the differences seen. It is a plan, not a result: a difference that was seen by
    luck is smaller in truth and needs more.

    Args:
        a: Question id -> value of the arm.
        b: Question id -> value of the arm that it is held against.
        difference: The difference to be found; the one seen by default.
        power: How often it is to be found.
        alpha: The level of the test; divide it by the number of metrics that are looked at.

    Raises:
        UserError: Fewer than two documents have a question in common, so that nothing is known of their spread; or
            `power` or `alpha` is none.
    """
    if not (0 < alpha < power < 1):
        raise UserError(
            f"A power of {power!r} at the level {alpha!r} has no meaning.",
            "A test finds a difference more often than it errs, and less often than always.",
            "Give numbers with 0 < alpha < power < 1, such as 0.05 and 0.8.",
        )
    differences = {qa_id: a[qa_id] - b[qa_id] for qa_id in a.keys() & b.keys()}
    sums, counts = by_cluster(differences, resampling.cluster)
    clusters, n = len(sums), len(differences)
    if clusters < 2:
        raise UserError(
            "How many questions are needed cannot be told.",
            f"The arms share {n} scored questions about {clusters} documents, and the spread between documents is "
            "unknown.",
            "Ask questions about two documents at least.",
        )
    size = abs(float(sums.sum() / n) if difference is None else difference)
    error = standard_error(sums, counts)
    values = np.fromiter(differences.values(), float)
    independent = float(values.std(ddof=1)) / sqrt(n)
    design = (error / independent) ** 2 if independent > 0 else 1.0
    effect = size / (error * sqrt(clusters)) if error > 0 else inf * size if size else 0.0
    wanted = _clusters_for(effect, power, alpha)
    questions = None if wanted is None else ceil(wanted * n / clusters)
    return Needed(size, power, questions, wanted, design)


def _clusters_for(effect: float, power: float, alpha: float) -> int | None:
    """The fewest clusters with that power, found by halving; `effect` in standard deviations of a cluster's mean."""
    low, high = 1, 2
    while _power(effect, high, alpha) < power:
        low, high = high, 2 * high
        if high > _MOST_CLUSTERS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _power(effect, middle, alpha) < power else (low, middle)
    return high


def _power(effect: float, clusters: int, alpha: float) -> float:
    """How often a two-sided t test over so many clusters finds the effect."""
    if effect == inf:
        return 1.0
    degrees, away = clusters - 1, effect * sqrt(clusters)
    t = float(stdtrit(degrees, 1 - alpha / 2))
    missed = float(nctdtr(degrees, away, t) - nctdtr(degrees, away, -t))
    return 1.0 if np.isnan(missed) else 1.0 - missed  # far beyond t the library gives up


@dataclass(frozen=True, slots=True)
class AcrossSeeds:
    """The difference between two set-ups over several trainings of them.

    `delta` is the mean over seeds and questions, with its 95% interval for new seeds and new documents. Of its
    standard error `error_of_seeds` is what more seeds would lower, and `error_of_questions` what more documents
    would. `between_seeds` is the standard deviation of one training's true mean difference.
    """

    delta: float
    ci_low: float
    ci_high: float
    p: float
    between_seeds: float
    error_of_seeds: float
    error_of_questions: float
    seeds: int
    n: int
    clusters: int


def across_seeds(
    differences: Mapping[str, Mapping[str, float]], resampling: Resampling, *, span: float = 1.0
) -> AcrossSeeds:
    """Keep the luck of a training and the luck of the questions apart.

    The crossed random-effects model d = mean + seed + question + rest, its variances by the method of moments (Searle,
    Casella & McCulloch 1992, chapter 4: observed mean squares set equal to what they expect, 0 where that is negative),
    with cluster-robust sums in place of the mean squares over questions, so that with one question a document it is
    the analysis of variance. The interval and `p` are from the t distribution with Satterthwaite's (1946) degrees of
    freedom. Questions that lack a value for some seed are left out.

    Args:
        differences: Seed -> question id -> arm minus the one that it is held against.
        span: As for `noninferiority`.

    Raises:
        UserError: There are fewer than two seeds, or the questions common to all are about fewer than two documents.
    """
    seeds = len(differences)
    common = sorted(set.intersection(*map(set, differences.values()))) if seeds else []
    clusters = len(by_cluster(dict.fromkeys(common, 0.0), resampling.cluster)[0])
    if seeds < 2 or clusters < 2:
        raise UserError(
            "The variance between seeds cannot be told.",
            f"There are {seeds} seeds, with {len(common)} scored questions about {clusters} documents in common.",
            "Give runs of two seeds at least, scored on the same questions about two documents at least.",
        )
    table = np.array([[values[qa_id] for qa_id in common] for values in differences.values()])  # (seeds, n)
    by_question, by_seed = table.mean(axis=0), table.mean(axis=1)
    questions = _squared_error(common, by_question, resampling)
    rest = sum(_squared_error(common, row - by_question, resampling) for row in table) / (seeds - 1)
    between = max(0.0, float(by_seed.var(ddof=1)) - rest)
    total = between / seeds + questions
    delta = float(table.mean())
    low, high, p = _t_interval(delta, total, [(between / seeds, seeds - 1), (questions, clusters - 1)])
    errors = (sqrt(between), sqrt(between / seeds), sqrt(questions))
    return AcrossSeeds(delta, max(low, -span), min(high, span), p, *errors, seeds, len(common), clusters)


def _squared_error(common: list[str], values: Floats, resampling: Resampling) -> float:
    """The squared cluster-robust standard error of the mean of `values`, shape (n,)."""
    named = dict(zip(common, map(float, values), strict=True))
    return standard_error(*by_cluster(named, resampling.cluster)) ** 2


def _t_interval(delta: float, variance: float, parts: list[tuple[float, int]]) -> tuple[float, float, float]:
    """The 95% interval and the two-sided p of a mean whose variance is the sum of (part, degrees of freedom)."""
    if variance == 0:
        return delta, delta, 1.0 if delta == 0 else 0.0
    degrees = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    margin = -float(stdtrit(degrees, _TAIL)) * sqrt(variance)
    return delta - margin, delta + margin, 2 * float(stdtr(degrees, -abs(delta) / sqrt(variance)))
