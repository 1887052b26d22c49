"""How sure a difference between two arms is.

Everything is paired by question and clustered by document: questions about one document share its difficulty, so the
document is what was sampled, and treating its questions as independent makes intervals too short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from raglift.records import Decision

Floats: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = NDArray[np.unsignedinteger[Any]]

_NORMAL = NormalDist()
_TAIL = 0.025
_POWER = 0.8
# With C clusters there are only binom(2C - 1, C) different resamples; below 8 the tails of a bootstrap are a handful.
_FEWEST_TO_RESAMPLE = 8
_ENUMERATE_UP_TO = 12
_SIGNS_AT_ONCE = 2_000_000
_DRAWN_AT_ONCE = 2**17  # few enough for the processor's cache
_MOST_KEPT = 20_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """What is drawn anew for an interval or a p-value, how often, and from which seed.

    Attributes:
        cluster: Question id -> its document; a question without one is a cluster of its own.
        seed: The same seed gives the same numbers, whatever the order of the mappings.
        resamples: Bootstrap samples, and random sign flips.
    """

    cluster: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    resamples: int = 2000


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm minus another over the questions that both have a value for.

    `delta` is the mean difference, `ci_low`/`ci_high` its 95% interval, `p` two-sided and uncorrected, `detectable`
    the smallest true difference that this many questions would show with 80% power at a two-sided level of 0.05.
    """

    delta: float
    ci_low: float
    ci_high: float
    p: float
    detectable: float
    n: int
    clusters: int


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """One arm's mean over questions with its 95% interval; the mean is None over no questions."""

    mean: float | None
    ci_low: float
    ci_high: float
    n: int
    clusters: int


def compare(a: Mapping[str, float], b: Mapping[str, float], resampling: Resampling, *, span: float = 1.0) -> Comparison:
    """The mean of a - b over their common questions.

    The interval is the bias-corrected and accelerated cluster bootstrap (BCa, Efron 1987), acceleration from the
    cluster jackknife, its tails widened for few clusters (Hesterberg 2015, "expanded percentile"). Under 8 clusters
    it is the cluster-robust t interval. In simulations with 5 to 50 documents these covered the true difference in
    87 to 98 of 100 question sets, where the plain percentile and BCa intervals covered 79 to 95.

    `p` is from the sign-flip permutation test on the sums of clusters: exact where at most 12 of them differ from 0,
    else by `resamples` random flips with one added to both counts (Phipson & Smyth 2010).

    One cluster says nothing about other documents, and no question nothing at all: then the interval is the whole
    (-span, span), p is 1 and `detectable` is `span`.

    Args:
        a: Question id -> value of the arm.
        b: Question id -> value of the arm that it is held against.
        span: The largest difference that the metric allows: 1 for a metric in [0, 1].
    """
    differences = {qa_id: a[qa_id] - b[qa_id] for qa_id in a.keys() & b.keys()}
    sums, counts = by_cluster(differences, resampling.cluster)
    n, clusters = len(differences), len(sums)
    if clusters < 2:
        delta = float(sums.sum()) / n if n else 0.0
        return Comparison(delta, -span, span, 1.0, span, n, clusters)
    low, high = _interval(sums, counts, resampling)
    p = sign_flip_p(sums, resampling)
    detectable = (_NORMAL.inv_cdf(1 - _TAIL) + _NORMAL.inv_cdf(_POWER)) * standard_error(sums, counts)
    delta = float(sums.sum() / counts.sum())
    return Comparison(delta, max(low, -span), min(high, span), p, min(detectable, span), n, clusters)


def mean_interval(
    values: Mapping[str, float], resampling: Resampling, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> MeanInterval:
    """One arm's mean over questions, with the interval that `compare` describes, cut at `bounds`.

    With fewer than two clusters the interval is `bounds`.
    """
    sums, counts = by_cluster(values, resampling.cluster)
    low, high = bounds
    n, clusters = len(values), len(sums)
    if clusters < 2:
        return MeanInterval(float(sums.sum()) / n if n else None, low, high, n, clusters)
    ci_low, ci_high = _interval(sums, counts, resampling)
    return MeanInterval(float(sums.sum() / counts.sum()), max(ci_low, low), min(ci_high, high), n, clusters)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def decide(ci_low: float, ci_high: float, p: float, *, alpha: float = 0.05, higher_is_better: bool = True) -> Decision:
    """What a difference shows: "better" or "worse" only where the interval excludes 0 and the corrected p agrees."""
    if p > alpha or ci_low <= 0 <= ci_high:
        return "cannot tell"
    return "better" if (ci_low > 0) == higher_is_better else "worse"


def by_cluster(values: Mapping[str, float], cluster: Mapping[str, str]) -> tuple[Floats, Floats]:
    """Each cluster's sum and number of values, both of shape (clusters,), in the order of the clusters' names."""
    members: dict[tuple[bool, str], list[float]] = {}
    for qa_id in sorted(values):
        members.setdefault((qa_id in cluster, cluster.get(qa_id, qa_id)), []).append(values[qa_id])
    ordered = [members[name] for name in sorted(members)]
    return np.array([sum(each) for each in ordered]), np.array([float(len(each)) for each in ordered])


def standard_error(sums: Floats, counts: Floats) -> float:
    """The cluster-robust standard error of the mean, with the correction C / (C - 1)."""
    clusters = len(sums)
    residuals = sums - counts * (sums.sum() / counts.sum())
    return float(np.sqrt(clusters / (clusters - 1) * np.square(residuals).sum()) / counts.sum())


def _interval(sums: Floats, counts: Floats, resampling: Resampling) -> tuple[float, float]:
    """The 95% interval of the mean from at least two clusters."""
    clusters = len(sums)
    mean = float(sums.sum() / counts.sum())
    t = float(stdtrit(clusters - 1, _TAIL))
    if clusters < _FEWEST_TO_RESAMPLE:
        margin = -t * standard_error(sums, counts)
        return mean - margin, mean + margin
    means = _bootstrap(sums, counts, resampling)
    tail = _NORMAL.cdf(t * (clusters / (clusters - 1)) ** 0.5)
    bias, acceleration = _bias(means, mean), _acceleration(sums, counts)
    levels = [_bca_level(level, bias, acceleration) for level in (tail, 1 - tail)]
    low, high = np.quantile(means, levels)
    return float(low), float(high)


def _blocks(rows: int, columns: int, most: int) -> Iterator[int]:
    """`rows` in parts of at most `most` numbers, or one row."""
    step = max(1, most // columns)
    for start in range(0, rows, step):
        yield min(step, rows - start)


def _draws(seed: int, resamples: int, clusters: int) -> Iterator[Draw]:
    """The clusters of each resample, drawn with replacement: (resamples, clusters), some rows at a time."""
    rng = np.random.default_rng((seed, 0))
    narrow = np.min_scalar_type(clusters - 1)
    for rows in _blocks(resamples, clusters, _DRAWN_AT_ONCE):
        yield rng.integers(clusters, size=(rows, clusters)).astype(narrow)


@lru_cache(maxsize=2)
def _kept_draws(seed: int, resamples: int, clusters: int) -> tuple[Draw, ...]:
    """The same, kept: all arms and metrics of a question set mostly have the same number of clusters."""
    return tuple(_draws(seed, resamples, clusters))


def _bootstrap(sums: Floats, counts: Floats, resampling: Resampling) -> Floats:
    """The mean over each resample of clusters. Shape (resamples,)."""
    clusters = len(sums)
    equal = bool((counts == counts[0]).all())
    draws = _kept_draws if resampling.resamples * clusters <= _MOST_KEPT else _draws
    means = []
    for drawn in draws(resampling.seed, resampling.resamples, clusters):
        rows = drawn.astype(np.intp)
        sizes = counts.sum() if equal else counts.take(rows).sum(axis=1)
        means.append(sums.take(rows).sum(axis=1) / sizes)
    return np.concatenate(means)


def _bias(means: Floats, mean: float) -> float:
    """BCa's z0: how far the mean stands from the bootstrap's median, ties counted half."""
    tie = 1e-12 * max(1.0, abs(mean))
    share = float((means < mean - tie).mean() + (means <= mean + tie).mean()) / 2
    edge = 0.5 / len(means)
    return _NORMAL.inv_cdf(min(max(share, edge), 1 - edge))


def _acceleration(sums: Floats, counts: Floats) -> float:
    """BCa's a: the skewness of the means that leave one cluster out."""
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    deviation = left_out.mean() - left_out
    scale = float(np.square(deviation).sum() ** 1.5)
    return float((deviation**3).sum()) / (6 * scale) if scale > 0 else 0.0


def _bca_level(level: float, bias: float, acceleration: float) -> float:
    """The quantile of the bootstrap that stands for `level` (Efron 1987, equation 3.8)."""
    edge = 1e-9
    z = bias + _NORMAL.inv_cdf(min(max(level, edge), 1 - edge))
    if acceleration * z >= 1:  # past the pole of the correction, where only the extreme is left
        return 1.0 if z > 0 else 0.0
    return _NORMAL.cdf(bias + z / (1 - acceleration * z))


def sign_flip_p(sums: Floats, resampling: Resampling, *, greater: bool = False) -> float:
    """p of the hypothesis that each cluster's sum might as well have had the other sign.

    Args:
        sums: Each cluster's sum of differences, shape (clusters,).
        greater: Count only flips whose sum is at least as large (one-sided), instead of as large either way.
    """
    moving = sums[sums != 0]
    if len(moving) == 0:
        return 1.0
    size = np.positive if greater else np.abs
    # Sums of the same numbers in other orders differ in their last bits and must count as equal.
    threshold = float(size(moving.sum())) - 1e-9 * float(np.abs(moving).sum())
    if len(moving) <= _ENUMERATE_UP_TO:
        bits = np.arange(2 ** len(moving))[:, None] >> np.arange(len(moving))
        return float((size((1 - 2 * (bits & 1)) @ moving) >= threshold).mean())
    rng = np.random.default_rng((resampling.seed, 1))
    extreme = 0
    for rows in _blocks(resampling.resamples, len(moving), _SIGNS_AT_ONCE):
        signs = 1 - 2 * rng.integers(2, size=(rows, len(moving)), dtype=np.int8)
        extreme += int((size(signs @ moving) >= threshold).sum())
    return (1 + extreme) / (1 + resampling.resamples)
