"""Learning rate and length by the amount of data, where the config says `auto`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raglift.config import TuningConfig
from raglift.records import Target
from raglift.training.accelerating import processes
from raglift.training.schedule import Settings
from raglift.training.strategy import Strategy

_STEPS = {"embedding": 24, "llm": 40, "rerank": 150}
_EPOCHS = {"embedding": 3, "llm": 2, "rerank": 3}


def learning_rate(setting: float | str, target: Target, strategies: Sequence[Strategy], examples: int) -> float:
    """The peak learning rate.

    `auto` takes what suits the strategy that decides which parameters change, and lowers it with the square root of
    the amount of data past 2,000 examples, where more steps do what large ones must do before.
    """
    if setting != "auto":
        return float(setting)
    suited = next((rate for s in strategies if (rate := s.learning_rate(target)) is not None), 2e-5)
    return suited * min(1.0, math.sqrt(2000 / max(1, examples)))


def steps(setting: float | str, target: Target, batches: int) -> int:
    """Optimizer steps: `setting` epochs of `batches`; `auto` repeats a small set up to three times (two for a language
    model) to reach a useful number of steps, and passes over a large one once."""
    if setting != "auto":
        return max(1, math.ceil(float(setting) * batches))
    epochs = min(_EPOCHS[target], max(1, math.ceil(_STEPS[target] / max(1, batches))))
    return max(1, epochs * batches)


def loop_settings(
    config: TuningConfig, target: Target, strategies: Sequence[Strategy], examples: int, batches: int
) -> Settings:
    """The loop's settings for a config's section and this much data."""
    return Settings(
        steps=steps(config.epochs, target, math.ceil(batches / (config.accumulation * processes()))),
        learning_rate=learning_rate(config.learning_rate, target, strategies, examples),
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        evaluations=config.evaluations,
        accumulation=config.accumulation,
        patience=config.patience,
    )
