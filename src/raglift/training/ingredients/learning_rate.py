"""The peak learning rate: three times the usual one, or a third of it."""

from __future__ import annotations

from raglift.config import EmbeddingConfig
from raglift.training import recipe
from raglift.training.ingredients._base import Alternative, Ingredient, Size
from raglift.training.outcome import strategies_of

FACTORS = (3.0, 1 / 3)


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    usual = recipe.learning_rate(config.learning_rate, "embedding", strategies_of(config.strategies), size.pairs)
    rates = [float(f"{factor * usual:.2g}") for factor in FACTORS]  # as a sweep writes them, so that it finds them
    return [Alternative(f"learning rate {rate}", {"learning_rate": rate}) for rate in rates]


PLUGIN = Ingredient(1, "Bengio 2012, section 3.1.1: the one hyper-parameter to tune", _alternatives)
