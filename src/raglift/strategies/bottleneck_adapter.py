"""Bottleneck adapters inside the blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator
from torch import nn

from raglift.models import bottleneck
from raglift.models.adapters import sparse
from raglift.models.adapters.bottleneck import ATTACHED, write
from raglift.models.bottleneck import Activation, Placement, Shape
from raglift.models.reranker import head
from raglift.models.sublayers import ADAPTERS
from raglift.records import Target
from raglift.training.frozen_prefix import shorten
from raglift.training.parameters import block_list
from raglift.training.strategy import Axis, Shortened, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.models.device import Runtime
    from raglift.training.strategy import State

_ADAPTER, _UP = f".{ADAPTERS}.", ".up."
"""In the names of an adapter's parameters, and of its upper layers'."""
_BLOCKS = re.compile(r"(-?\d+)(?:\.\.(-?\d+))?")


class BottleneckAdapter(Strategy):
    """The base stays, and a small two-layer network in each block learns a change of a sub-layer's output.

    For an output `h` it becomes `h + U f(D h + b) + c` with `D` of shape (width, hidden) and `U`, of shape (hidden,
    width), zero at the start, so that training starts from the base exactly. `houlsby` stands after the attention and
    after the feed-forward layer, `pfeiffer` after the feed-forward layer, each before the residual is added; `parallel`
    reads the feed-forward layer's input in the place of `h`, and what it adds is scaled.

    References:
        Pfeiffer et al. 2021, "AdapterFusion" (without its second layer norm, which is not the base at the start);
        He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning" (parallel, scaled by 4).
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "adapter-based fine-tuning"
    approach: ClassVar[str] = "bottleneck adapters"
    when: ClassVar[str] = "several specialists on one base in memory, switched without loading it again"
    paper: ClassVar[str] = "Houlsby et al. 2019, section 2.1"
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-3, "llm": 5e-4, "rerank": 1e-3}

    placement: Placement = Field("houlsby", description="houlsby, pfeiffer or parallel: where in a block it stands")
    width: int = Field(64, ge=1, description="width of the bottleneck")
    activation: Activation = Field("gelu", description="between its two layers: relu, gelu, silu or tanh")
    scale: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="factor on what it adds; null: 4 for parallel, else 1"
    )
    blocks: Literal["all"] | tuple[int | str, ...] = Field(
        "all", description='blocks that have it, from 0: numbers, ranges as "4..7", negative ones from the top'
    )

    @field_validator("blocks")
    @classmethod
    def _well_formed(cls, blocks: str | tuple[int | str, ...]) -> str | tuple[int | str, ...]:
        if not blocks:
            raise ValueError("no block is named; say which ones, or all")
        odd = [] if blocks == "all" else [block for block in blocks if not _BLOCKS.fullmatch(str(block))]
        if odd:
            raise ValueError(f'{odd[0]!r} is neither the number of a block nor a range such as "4..7" or "-2..-1"')
        return blocks

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze the base and put the adapter into the named blocks."""
        shape = self._shape(len(block_list(model)[1]))
        model.requires_grad_(False)
        device = next(model.parameters()).device
        for part in bottleneck.insert(model, ATTACHED, shape).values():
            part.to(device)  # in float32 beside a base in half precision
        bottleneck.use(model, ATTACHED)
        for parameter in head(model).values():
            parameter.requires_grad_(True)
        return model

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened | None:
        """With the blocks below the lowest adapter looked up."""
        return shorten(model, min(self._shape(len(block_list(model)[1])).blocks), runtime)

    def _shape(self, count: int) -> Shape:
        scale = self.scale or (4.0 if self.placement == "parallel" else 1.0)
        blocks = tuple(range(count)) if self.blocks == "all" else chosen(self.blocks, count)
        return Shape(placement=self.placement, width=self.width, activation=self.activation, scale=scale, blocks=blocks)

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        """Scale what the adapter adds: its upper layer, zero in the base, takes the share; the rest of it stays as
        tuned. A reranker's head moves itself."""
        return {
            name: base[name].lerp(value, share) if _UP in name or _ADAPTER not in name else value.clone()
            for name, value in tuned.items()
        }

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write the adapter alone, and a reranker's head."""
        write(model, ATTACHED, self._shape(len(block_list(model)[1])), folder)
        if scores := head(model):
            sparse.write(folder, {name: (value, None) for name, value in scores.items()})
        return True

    def finish(self, model: nn.Module) -> nn.Module:
        """Take an adapter out that adds nothing, as where the base won; any other cannot become plain weights, and
        stays."""
        if bottleneck.adds_nothing(model, ATTACHED):
            bottleneck.remove(model, ATTACHED)
        return model


def chosen(blocks: tuple[int | str, ...], count: int) -> tuple[int, ...]:
    """The numbers that a list of blocks names in a model of `count` blocks, in ascending order, each once.

    Raises:
        ValueError: There is no such block, or a range ends before it begins.
    """
    found: set[int] = set()
    for block in blocks:
        match = _BLOCKS.fullmatch(str(block))
        assert match is not None
        ends = [int(end) for end in match.groups() if end is not None]
        if any(not -count <= end < count for end in ends):
            raise ValueError(f"it has {count} blocks, 0 to {count - 1} (or -{count} to -1); there is no block {block}")
        first, last = (end % count for end in (ends[0], ends[-1]))
        if last < first:
            raise ValueError(f"the range {block} of its {count} blocks ends before it begins")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


PLUGIN = BottleneckAdapter
