"""What values a metric takes, and which of them are better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from raglift import plugins

SECONDS, TOKENS_IN, TOKENS_OUT, COST = "seconds", "tokens_in", "tokens_out", "cost"
PRICES = (SECONDS, TOKENS_IN, TOKENS_OUT, COST)
"""What a question took; they stand beside the response metrics."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The values of a metric: from `low` to `high`, either of which may be infinite.

    Attributes:
        better: Which values are better; None where a value describes an answer and says nothing of how good it is.
    """

    low: float = 0.0
    high: float = 1.0
    better: Literal["higher", "lower"] | None = "higher"

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    @property
    def span(self) -> float:
        """The largest difference between two values."""
        return self.high - self.low

    @property
    def judged(self) -> bool:
        """Whether arms are held against each other on it. That takes a direction, and finite bounds: where nothing is
        known of a difference, its interval is all that the bounds allow."""
        return self.better is not None and math.isfinite(self.span)

    def described(self) -> dict[str, Any]:
        """The fields for JSON, which has no infinity: None stands for it."""
        return {"low": finite(self.low), "high": finite(self.high), "better": self.better}


_PRICE = Scale(0.0, math.inf, "lower")
_UNIT = Scale()


def scale_of(metric: str) -> Scale:
    """The scale of a metric by its name.

    A response metric says its own; every other one, as those of ir_measures, lies in [0, 1] and more is better.
    """
    if metric in PRICES:
        return _PRICE
    if metric in plugins.names("response metric"):
        found: Scale = plugins.load("response metric", metric).scale
        return found
    return _UNIT


def finite(value: float | None) -> float | None:
    """`value`, or None where it is infinite."""
    return value if value is not None and math.isfinite(value) else None
