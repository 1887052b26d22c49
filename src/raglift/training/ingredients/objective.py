"""The loss: a guide among the negatives, more directions, or more negatives."""

from __future__ import annotations

from raglift.config import EmbeddingConfig, PluginSpec
from raglift.training.ingredients._base import Alternative, Ingredient, Size

_DIRECTIONS = ["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"]
_LARGER = 4
_STEPS = 8
"""Fewest steps an epoch at which a larger batch is tried: more negatives are paid for with fewer steps."""


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    every = PluginSpec(name="multiple_negatives", settings={"directions": _DIRECTIONS})
    cached = PluginSpec(name="cached_multiple_negatives")
    batch, fewest = _LARGER * config.batch_size, _STEPS * _LARGER * config.batch_size
    few = f"it takes {fewest} questions, and there are {size.pairs}" if size.pairs < fewest else ""
    return [
        Alternative("a guide (gist)", {"objective": PluginSpec(name="gist")}),
        Alternative("all four directions", {"objective": every}),
        Alternative(f"batches of {batch}", {"objective": cached, "batch_size": batch}, few),
    ]


PLUGIN = Ingredient(4, "Solatorio 2024, GISTEmbed; Li et al. 2023; Henderson et al. 2017", _alternatives)
