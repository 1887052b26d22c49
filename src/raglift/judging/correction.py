"""A judge's shares corrected for its known errors, with intervals that hold what is not known of the errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from raglift.evaluation.statistics import Comparison
from raglift.judging.health import Health

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A share as the judge saw it, and as it probably is; `ci_low`/`ci_high` bound the corrected one at 95%.

    All but `n` are None over no value.
    """

    observed: float | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class CorrectedDifference:
    """One arm's share minus another's; `p` is that of the observed difference, which the correction only stretches."""

    observed: float
    value: float
    ci_low: float
    ci_high: float
    p: float
    n: int


def correct(values: Mapping[str, float], cluster: Mapping[str, str], health: Health) -> Corrected:
    """The share of items that are right, of what a judge said of them.

    With sensitivity Se and specificity Sp a judge says "yes" of a share s Se + (1 - s)(1 - Sp) where s are right, so
    that s = (observed + Sp - 1) / (Se + Sp - 1), cut at 0 and 1 (Rogan and Gladen 1978, equation 1). The interval is
    that of Lang and Reiczigel 2014 (section 2.3), whose three shares all vary; of clustered items it takes as many
    independent ones as would have the same variance.

    It holds as far as the judge errs on the arm's answers as on the known ones.

    Args:
        values: Question id -> what the judge said, in [0, 1].
        cluster: Question id -> its document; a question without one is a cluster of its own.
        health: Of a judge that is believed.
    """
    n = len(values)
    if n == 0:
        return Corrected(None, None, None, None, 0)
    observed = sum(values.values()) / n
    wrong = health.specificity
    value = (observed - (1 - wrong.value)) / health.youden
    low, high = _interval(observed, n / design_effect(values, cluster), health)
    # The interval is around a share that is drawn to the middle; with a judge of few tests it can miss the estimate.
    value = min(max(value, 0.0), 1.0)
    return Corrected(observed, value, min(low, value), max(high, value), n)


def _interval(observed: float, n: float, health: Health) -> tuple[float, float]:
    """Lang and Reiczigel's interval, cut at 0 and 1: each share is moved as if a few more items had been seen."""
    z2, right, wrong = _Z**2, health.sensitivity, health.specificity
    n_moved, n_right, n_wrong = n + z2, right.n + 2, wrong.n + 2
    share = (n * observed + z2 / 2) / n_moved
    se, sp = (right.hits + 1) / n_right, (wrong.hits + 1) / n_wrong
    youden = se + sp - 1
    if youden <= 0:
        return 0.0, 1.0
    moved = (share + sp - 1) / youden
    var_right, var_wrong = se * (1 - se) / n_right, sp * (1 - sp) / n_wrong
    shift = 2 * z2 * (moved * var_right - (1 - moved) * var_wrong)
    variance = share * (1 - share) / n_moved + moved**2 * var_right + (1 - moved) ** 2 * var_wrong
    half = _Z * variance**0.5 / youden
    low, high = (min(max(end, 0.0), 1.0) for end in (moved + shift - half, moved + shift + half))
    return low, high


def design_effect(values: Mapping[str, float], cluster: Mapping[str, str]) -> float:
    """How much more the mean varies than that of as many independent yes or no, at least 1 (Kish 1965)."""
    n, mean = len(values), sum(values.values()) / len(values)
    sums: defaultdict[tuple[bool, str], float] = defaultdict(float)
    for name, value in values.items():
        sums[name in cluster, cluster.get(name, name)] += value - mean
    clusters, plain = len(sums), mean * (1 - mean) / n
    if clusters < 2 or plain == 0:
        return 1.0
    clustered = clusters / (clusters - 1) * sum(total**2 for total in sums.values()) / n**2
    return max(1.0, clustered / plain)


def correct_difference(comparison: Comparison, health: Health) -> CorrectedDifference:
    """The difference of two shares, which the judge's errors shrink by Youden's J.

    Its variance is that of a ratio of two estimates (delta method). Whether there is a difference at all does not
    depend on J, so that the p-value stays.

    Args:
        comparison: Of what the judge said of both arms on the same questions.
        health: Of a judge that is believed, the same for both arms.
    """
    youden = health.youden
    delta = comparison.delta / youden
    half = max(comparison.ci_high - comparison.delta, comparison.delta - comparison.ci_low)
    spread = max(health.youden_high - youden, youden - health.youden_low)
    margin = ((half / youden) ** 2 + (delta * spread / youden) ** 2) ** 0.5
    low, high = max(-1.0, delta - margin), min(1.0, delta + margin)
    delta = min(max(delta, -1.0), 1.0)
    return CorrectedDifference(comparison.delta, delta, low, high, comparison.p, comparison.n)
