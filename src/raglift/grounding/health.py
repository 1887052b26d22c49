"""How often a support checker is right, on claims whose answer is known because a machine made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from raglift.grounding.claims import Claim


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% interval (Wilson 1927); None of none.

    Attributes:
        right: How many of `of`.
    """

    right: int
    of: int

    @property
    def value(self) -> float | None:
        """The share."""
        return self.right / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval; the whole where there is none."""
        if not self.of:
            return 0.0, 1.0
        found = binomtest(self.right, self.of).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Health:
    """What a checker does with held-out claims.

    Attributes:
        sensitivity: Of the claims that are not supported, how many it finds.
        specificity: Of those that are supported, how many it lets through.
        by_kind: The same of each kind of claim alone.
    """

    sensitivity: Rate
    specificity: Rate
    by_kind: dict[str, Rate]

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of the two shares: 0.5 is what a coin does."""
        both = self.sensitivity.value, self.specificity.value
        return None if None in both else sum(value for value in both if value is not None) / 2


def health_of(claims: Sequence[Claim], supported: NDArray[np.bool_]) -> Health:
    """Sensitivity and specificity of verdicts on claims, shape (claims,)."""
    rows = list(zip(claims, supported.tolist(), strict=True))

    def rate(some: Sequence[tuple[Claim, bool]]) -> Rate:
        return Rate(sum(claim.supported == verdict for claim, verdict in some), len(some))

    kinds = sorted({claim.kind for claim in claims})
    return Health(
        rate([row for row in rows if not row[0].supported]),
        rate([row for row in rows if row[0].supported]),
        {kind: rate([row for row in rows if row[0].kind == kind]) for kind in kinds},
    )
