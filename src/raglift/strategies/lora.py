"""Low-rank adapters, through PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import nn

from raglift.records import Target
from raglift.training.strategy import Axis, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.training.strategy import State


class Lora(Strategy):
    """LoRA: the weights stay, and a product of two thin matrices is learned beside each linear layer.

    For a linear layer `W` the output becomes `W x + (alpha / rank) B A x` with `A` of shape (rank, in) drawn at random
    and `B` of shape (out, rank) zero, so that training starts from the base exactly.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "parameter-efficient fine-tuning"
    approach: ClassVar[str] = "low-rank adaptation"
    when: ClassVar[str] = "language models, little memory, many variants of one base; the default for language models"
    paper: ClassVar[str] = "Hu et al. 2022, LoRA, equation 3"
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-3, "llm": 5e-4}

    rank: int = Field(16, ge=1, description="width of the thin matrices")
    alpha: int = Field(32, ge=1, description="scale: what is learned is multiplied by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the thin matrices")
    target_modules: str | tuple[str, ...] = Field("all-linear", description="layers to adapt, by PEFT's rules")

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze the base and put the thin matrices beside its linear layers, those of every attention and feed-forward
        block unless named otherwise (Dettmers et al. 2023 found that all of them are needed)."""
        modules = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=modules)
        if target == "embedding":
            inner = model[0]  # type: ignore[index]
            inner.model = get_peft_model(inner.model, config)
            return model
        return get_peft_model(model, config)

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        """Scale the product, not its factors: `A` stays as tuned and `B`, zero in the base, takes the share.

        Mixing both would add cross-terms and scale what was learned by the share's square.
        """
        return {name: tensor * share if ".lora_B." in name else tensor.clone() for name, tensor in tuned.items()}

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write the adapter alone, as a PEFT folder."""
        if not isinstance(model, PeftModel):
            return False
        model.save_pretrained(str(folder), safe_serialization=True)
        return True

    def finish(self, model: nn.Module) -> nn.Module:
        """Add the product into the weights."""
        if isinstance(model, PeftModel):
            merged: nn.Module = model.merge_and_unload()
            return merged
        inner = model[0]  # type: ignore[index]
        inner.model = inner.model.merge_and_unload()
        return model


PLUGIN = Lora
