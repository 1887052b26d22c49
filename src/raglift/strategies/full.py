"""Every parameter changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import nn

from raglift.records import Target
from raglift.training.parameters import discriminative
from raglift.training.strategy import Axis, Strategy


class Full(Strategy):
    """Full fine-tuning: all weights learn, in float32, with mixed precision where the machine is faster with it.

    With a `depth_factor` above 1 the lower layers, which hold what is general, learn more slowly than the upper ones.

    References:
        Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 3.2.
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "full fine-tuning"
    approach: ClassVar[str] = "all parameters"
    when: ClassVar[str] = "small models, or enough data to move everything; the default for embedding models"
    paper: ClassVar[str] = "Devlin et al. 2019, section 3.2"
    full_precision: ClassVar[bool] = True
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 6e-5, "llm": 3e-5, "rerank": 5e-5}

    depth_factor: float = Field(1.0, ge=1, description="the learning rate is divided by it for every layer down")

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Let every parameter learn."""
        return model.requires_grad_(True)

    def rates(self, model: nn.Module, target: Target) -> Mapping[str, float]:
        """Slower from layer to layer downwards."""
        return discriminative(model, self.depth_factor) if self.depth_factor != 1 else {}


PLUGIN = Full
