"""The length of the training: twice the usual one; shorter ones are among the checkpoints of every training."""

from __future__ import annotations

import math

from raglift.config import EmbeddingConfig
from raglift.training import recipe
from raglift.training.ingredients._base import Alternative, Ingredient, Size


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    batches = max(1, math.ceil(size.pairs / (config.batch_size * config.accumulation)))
    usual = recipe.steps(config.epochs, "embedding", batches) / batches
    return [Alternative(f"{2 * usual:g} epochs", {"epochs": float(2 * usual)})]


PLUGIN = Ingredient(5, "Mosbach et al. 2021: longer fine-tuning of small sets", _alternatives)
