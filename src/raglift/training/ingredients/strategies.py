"""Which parameters change: fewer of them where there is little to learn from."""

from __future__ import annotations

from typing import Any

from raglift import plugins
from raglift.config import EmbeddingConfig, PluginSpec
from raglift.training.ingredients._base import Alternative, Ingredient, Size
from raglift.training.outcome import strategies_of

_NAMES = ("lora", "top_layers")
_ENOUGH = 2000
"""Questions from which on all parameters can be trained without restraint."""


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    enough = f"{size.pairs} questions are enough to train all (from {_ENOUGH} on)" if size.pairs >= _ENOUGH else ""
    return [Alternative(name, _in_place(config, name), enough) for name in _NAMES]


def _in_place(config: EmbeddingConfig, name: str) -> dict[str, Any]:
    """The strategies with another on the axis `parameters`; the rate stays as far from the usual one as it is."""
    strategies = strategies_of(config.strategies)
    both = zip(config.strategies, strategies, strict=True)
    specs = [PluginSpec(name=name), *(spec for spec, strategy in both if strategy.axis != "parameters")]
    rate = config.learning_rate
    if rate != "auto":
        usual = [each for strategy in strategies if (each := strategy.learning_rate("embedding")) is not None]
        new = plugins.load("strategy", name)().learning_rate("embedding")
        if usual and new is not None:
            rate = float(f"{rate * new / usual[0]:.2g}")
    return {"strategies": specs, "learning_rate": rate}


PLUGIN = Ingredient(6, "Hu et al. 2022, LoRA; Lee et al. 2019, What Would Elsa Do?", _alternatives)
