"""Mixes of base and tuned weights, chosen on the development split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class WeightInterpolation(Strategy):
    """Offer `(1 - share) * base + share * tuned` for several shares as candidates to choose from.

    On the straight line between the two, models often keep most of the tuned one's gain and most of the base's breadth.
    The strategy that decides which parameters change says what a mix is: with an adapter, the base is the adapter
    switched off.
    """

    axis: ClassVar[Axis] = "anchor"
    family: ClassVar[str] = "regularised fine-tuning"
    approach: ClassVar[str] = "weight-space interpolation"
    when: ClassVar[str] = "always worth it with few questions: costs a few scorings and no training"
    paper: ClassVar[str] = "Wortsman et al. 2022, WiSE-FT, equation 1"
    needs_mixes: ClassVar[bool] = True

    shares: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="shares of the tuned weights that are tried")

    @field_validator("shares")
    @classmethod
    def _inside(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or any(not 0 < share < 1 for share in shares):
            raise ValueError("every share must lie between 0 and 1")
        return shares

    def candidates(self, mix: Callable[[float], dict[str, Tensor]]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One mix a share."""
        for share in self.shares:
            yield f"mix {share:g}", mix(share)


PLUGIN = WeightInterpolation
