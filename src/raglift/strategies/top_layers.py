"""The upper transformer blocks change, the lower ones stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator
from torch import nn

from raglift.records import Target
from raglift.training.frozen_prefix import shorten
from raglift.training.parameters import block_list, depths
from raglift.training.strategy import Axis, Shortened, Strategy

if TYPE_CHECKING:
    from raglift.models.device import Runtime


class TopLayers(Strategy):
    """The highest blocks learn with all that lies above them; the embeddings and the blocks below are frozen.

    With a quarter of the blocks Lee et al. kept nine tenths of what full fine-tuning gains. An output layer that shares
    the embeddings' weights lies below with them and is frozen too, as are tables that the frozen blocks read.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "full fine-tuning"
    approach: ClassVar[str] = "top layers"
    when: ClassVar[str] = (
        "little memory or time: no gradient goes below the blocks that learn; texts much like the base's"
    )
    paper: ClassVar[str] = "Lee et al. 2019, What Would Elsa Do?"
    version: ClassVar[int] = 3
    full_precision: ClassVar[bool] = True
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-4, "llm": 5e-5, "rerank": 1e-4}

    layers: int | float = Field(0.25, gt=0, description="blocks that learn, from the top: a number, or a share below 1")

    @field_validator("layers")
    @classmethod
    def _whole_or_share(cls, layers: int | float) -> int | float:
        if layers >= 1 and layers != int(layers):
            raise ValueError("must be a whole number of blocks, or a share below 1")
        return layers

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze what lies below the blocks that learn.

        Raises:
            ValueError: The model has fewer blocks than are to learn, or none.
        """
        frozen = self._frozen(len(block_list(model)[1]))
        parameters = dict(model.named_parameters())
        for name, depth in depths(model).items():
            parameters[name].requires_grad_(depth > frozen)
        return model

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened | None:
        """With the frozen blocks looked up."""
        return shorten(model, self._frozen(len(block_list(model)[1])), runtime)

    def _frozen(self, count: int) -> int:
        """Blocks of `count` that do not learn."""
        learning = int(self.layers) if self.layers >= 1 else max(1, round(self.layers * count))
        if learning > count:
            raise ValueError(f"it has {count} blocks, and the top {learning} are to learn")
        return count - learning


PLUGIN = TopLayers
