"""Shares of known cases, with their intervals: how often a judge or a checker is right."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% interval; a tie counts as half a hit. Over nothing, `n` is 0 and `value` the middle."""

    hits: float
    n: int
    value: float
    low: float
    high: float

    @property
    def known(self) -> float | None:
        """The share; None over nothing."""
        return self.value if self.n else None


def wilson(hits: float, n: int) -> Rate:
    """A share of `n` with its 95% score interval (Wilson 1927); over nothing it is the whole of [0, 1].

    With halves among the hits the interval is too long rather than too short: a value in [0, 1] never varies more than
    a yes or no of the same mean.
    """
    if n == 0:
        return Rate(0.0, 0, 0.5, 0.0, 1.0)
    share, z2 = hits / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5 / (1 + z2 / n)
    # At the edges the formula gives 0 or 1 up to rounding.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == n else min(1.0, middle + half)
    return Rate(hits, n, share, low, high)


def sum_interval(one: Rate, other: Rate) -> tuple[float, float]:
    """The 95% interval of the sum of two independent shares, from their own intervals (MOVER, Zou and Donner 2008),
    which holds its level where a share is at the edge."""
    total = one.value + other.value
    down = ((one.value - one.low) ** 2 + (other.value - other.low) ** 2) ** 0.5
    up = ((one.high - one.value) ** 2 + (other.high - other.value) ** 2) ** 0.5
    return max(0.0, total - down), min(2.0, total + up)
