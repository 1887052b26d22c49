"""What a finished evaluation's answers cost: counted from their tokens, so that another price asks no model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raglift.config import EvaluationConfig
from raglift.evaluation.prices import Rates, Spent, price_cells, prices
from raglift.evaluation.scale import COST
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.records import Answered, QAPair, iter_jsonl, read_jsonl


def add_costs(response: dict[str, Any], folder: Path, settings: EvaluationConfig, seed: int) -> None:
    """Put a cell `cost` beside the response metrics of every arm; none without prices, or where no tokens were counted.

    Args:
        response: Question set -> arm -> metric -> cell, as in summary.json.
        folder: The evaluation's artifact.
        seed: The run's.
    """
    rates = Rates(settings.price_in, settings.price_out)
    if rates == Rates():
        return
    for name, arms in response.items():
        spent: dict[str, list[Spent]] = {}
        for item in iter_jsonl(folder / f"{name}-answered.jsonl", Answered):
            if item.answer is not None:
                told = Spent(item.qa_id, item.seconds, item.tokens_in, item.tokens_out)
                spent.setdefault(item.arm, []).append(told)
        questions = read_jsonl(folder / f"{name}-questions.jsonl", QAPair)
        resampling = Resampling(clusters(questions), seed, settings.resamples)
        for arm, cells in arms.items():
            own = spent.get(arm, [])
            cost = {price: values for price, values in prices(own, rates).items() if price == COST}
            cells |= price_cells(cost, len(own), resampling)
