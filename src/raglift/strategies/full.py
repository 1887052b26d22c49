"""Every parameter changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from raglift.records import Target
from raglift.training.strategy import Axis, Strategy


class Full(Strategy):
    """Full fine-tuning: all weights learn, in float32, with mixed precision where the machine is faster with it."""

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "full fine-tuning"
    approach: ClassVar[str] = "all parameters"
    when: ClassVar[str] = "small models, or enough data to move everything; the default for embedding models"
    paper: ClassVar[str] = "Devlin et al. 2019, section 3.2"
    full_precision: ClassVar[bool] = True
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 6e-5, "llm": 3e-5}

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Let every parameter learn."""
        return model.requires_grad_(True)


PLUGIN = Full
