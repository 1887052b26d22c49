"""How often a support checker is right, on claims whose answer is known because a machine made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raglift.evaluation.rates import Rate, sum_interval, wilson
from raglift.grounding.claims import Claim


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
        """The mean of the two shares: 0.5 is what a coin does; None where there are claims of one sort alone."""
        both = self.sensitivity, self.specificity
        return sum(rate.value for rate in both) / 2 if all(rate.n for rate in both) else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the balanced accuracy."""
        low, high = sum_interval(self.sensitivity, self.specificity)
        return low / 2, high / 2


def health_of(claims: Sequence[Claim], supported: NDArray[np.bool_]) -> Health:
    """Sensitivity and specificity of verdicts on claims, shape (claims,)."""
    rows = list(zip(claims, supported.tolist(), strict=True))

    def rate(some: Sequence[tuple[Claim, bool]]) -> Rate:
        return wilson(sum(claim.supported == verdict for claim, verdict in some), len(some))

    kinds = sorted({claim.kind for claim in claims})
    return Health(
        rate([row for row in rows if not row[0].supported]),
        rate([row for row in rows if row[0].supported]),
        {kind: rate([row for row in rows if row[0].kind == kind]) for kind in kinds},
    )
