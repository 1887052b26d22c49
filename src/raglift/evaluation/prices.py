"""What answers took: seconds, tokens and money. They stand beside the metrics, and nothing is tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raglift.evaluation.scale import COST, SECONDS, TOKENS_IN, TOKENS_OUT, finite, scale_of
from raglift.evaluation.statistics import Resampling, mean_interval

_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Spent:
    """What one question took; None: not known."""

    qa_id: str
    seconds: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What a million tokens cost, in any currency; None: not known, and nothing is said of money."""

    tokens_in: float | None = None
    tokens_out: float | None = None

    def cost(self, tokens_in: float, tokens_out: float) -> float | None:
        """Of so many tokens."""
        if self.tokens_in is None or self.tokens_out is None:
            return None
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


def prices(spent: Iterable[Spent], rates: Rates) -> dict[str, dict[str, float]]:
    """Price -> question id -> value, of one arm; what is not known is left out.

    `seconds` is the time of a question, retrieval and answer, as it was measured in batches; `tokens_in` and
    `tokens_out` are those of its prompt and its answer; `cost` is that of a thousand such questions.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in (SECONDS, TOKENS_IN, TOKENS_OUT, COST)}
    for item in spent:
        if item.seconds is not None:
            found[SECONDS][item.qa_id] = item.seconds
        if item.tokens_in is None or item.tokens_out is None:
            continue
        found[TOKENS_IN][item.qa_id], found[TOKENS_OUT][item.qa_id] = item.tokens_in, item.tokens_out
        cost = rates.cost(item.tokens_in, item.tokens_out)
        if cost is not None:
            found[COST][item.qa_id] = _THOUSAND * cost
    return {name: values for name, values in found.items() if values}


def price_cells(
    found: Mapping[str, Mapping[str, float]], asked: int, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Price -> its mean with a 95% interval, as a cell of the report's tables.

    Args:
        asked: Questions that took something; of the others a price is not known.
    """
    cells = {}
    for name, values in found.items():
        mean = mean_interval(values, resampling, bounds=scale_of(name).bounds)
        numbers = {"value": mean.mean, "n": mean.n, "coverage": mean.n / asked}
        cells[name] = numbers | {"ci_low": mean.ci_low, "ci_high": finite(mean.ci_high)}
    return cells
