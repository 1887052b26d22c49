"""Hard negatives: wrong passages that the base index takes for right ones."""

from __future__ import annotations

from raglift.config import EmbeddingConfig
from raglift.training.ingredients._base import Alternative, Ingredient, Size

_COUNT = 2
"""Each costs a passage more at every step: with two a step takes twice as long as with none."""


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    return [Alternative(f"{_COUNT} hard negatives", {"hard_negatives": _COUNT})]


PLUGIN = Ingredient(2, "Moreira et al. 2024, NV-Retriever", _alternatives)
