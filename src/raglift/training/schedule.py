"""How the learning rate moves, and where the development split is scored."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how hard.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak of a linear warm-up and linear decay.
        warmup: Share of the steps that warm up.
        weight_decay: AdamW's, decoupled (Loshchilov and Hutter 2019).
        evaluations: Times that the development split is scored, the last time after the last step.
        clip: Largest norm of the gradient.
        accumulation: Batches whose gradients make one step, on each device.
        patience: Scorings in a row without a new best after which training ends; None: never before the last step.
    """

    steps: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.0
    evaluations: int = 4
    clip: float = 1.0
    accumulation: int = 1
    patience: int | None = None

    def rate(self, step: int) -> float:
        """The share of the peak at a step: a linear rise, then a linear fall to zero; the first step already moves."""
        warm = max(1, round(self.steps * self.warmup))
        if step < warm:
            return (step + 1) / warm
        return (self.steps - step) / max(1, self.steps - warm)

    @property
    def marks(self) -> set[int]:
        """The steps after which the development split is scored, at even distances."""
        return {math.ceil(self.steps * (i + 1) / self.evaluations) for i in range(self.evaluations)}
