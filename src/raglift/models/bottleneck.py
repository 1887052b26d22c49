"""Bottleneck adapters: small two-layer networks inside the blocks of a frozen transformer, several on one base.

They are put in by forward hooks, so that the base keeps its modules and the names of its weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from raglift.models.sublayers import ADAPTERS, attention_end, feed_forward, hidden_width
from raglift.training.parameters import block_list

Placement = Literal["houlsby", "pfeiffer", "parallel"]
Activation = Literal["relu", "gelu", "silu", "tanh"]
Place = Literal["attention", "feed_forward"]

PLACES: Mapping[Placement, tuple[Place, ...]] = {
    "houlsby": ("attention", "feed_forward"),
    "pfeiffer": ("feed_forward",),
    "parallel": ("feed_forward",),
}
"""The sub-layers that have an adapter."""
_ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Shape(BaseModel):
    """What an adapter is made of, but for its weights.

    Attributes:
        placement: After both sub-layers, after the feed-forward layer, or beside it.
        width: Of the bottleneck.
        activation: Between the two projections.
        scale: What is added is multiplied by it.
        blocks: Numbers of the blocks that have it, from the lowest, 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    placement: Placement
    width: int = Field(ge=1)
    activation: Activation
    scale: float
    blocks: tuple[int, ...] = Field(min_length=1)


class Bottleneck(nn.Module):
    """`scale * (U f(D x + b) + c)`, which the place that it stands in adds to a sub-layer's output.

    `D` has shape (width, hidden), drawn as torch draws a linear layer's; `U` of shape (hidden, width) and both biases
    are zero, so that nothing is added at the start.

    Args:
        hidden: Width of the hidden states.
        beside: Whether `x` is the sub-layer's input; otherwise it is its output.

    References:
        Houlsby et al. 2019, section 2.1; He et al. 2022, "Towards a Unified View", table 1.
    """

    def __init__(self, hidden: int, width: int, activation: Activation, scale: float, beside: bool) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, width)
        self.activation = _ACTIVATIONS[activation]()
        self.up = nn.Linear(width, hidden)
        self.scale = scale
        self.beside = beside
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) -> (…, hidden), in the precision of `x`, computed in that of the weights."""
        weight = getattr(self.down, "weight", None)  # None where the layers were packed, in the model's precision
        inner = x if weight is None else x.to(weight.dtype)
        found: Tensor = self.up(self.activation(self.down(inner)))
        return (self.scale * found).to(x.dtype)


_USING: ContextVar[tuple[tuple[Switch, str | None], ...]] = ContextVar("raglift_adapters", default=())
"""What `using` says in this thread or task, the innermost last."""


@dataclass(eq=False, slots=True)
class Switch:
    """Which adapter of one model acts.

    Attributes:
        usual: Where no `using` block says otherwise.
    """

    usual: str | None = None

    @property
    def acting(self) -> str | None:
        """The adapter that acts in this thread or task now."""
        return next((name for switch, name in reversed(_USING.get()) if switch is self), self.usual)


class Site(nn.Module):
    """A place in a block: the adapters that stand there side by side, of which one at most acts.

    Args:
        switch: The model's, the same one at all of its sites.
        begins: The module whose first input is the sub-layer's.
        ends: The module whose output is the sub-layer's.
    """

    def __init__(self, switch: Switch, begins: nn.Module, ends: nn.Module) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict()
        self.switch = switch
        self._inputs: dict[int, Tensor] = {}  # by thread
        self._apart = begins is not ends
        self._handles = [ends.register_forward_hook(self._after, with_kwargs=True)]
        if self._apart:
            self._handles.append(begins.register_forward_hook(self._before, with_kwargs=True))

    def take_out(self) -> None:
        """Leave the modules around as they were before."""
        for handle in self._handles:
            handle.remove()

    def _acting(self) -> Bottleneck | None:
        name = self.switch.acting
        if name is None or name not in self.adapters:
            return None
        found = self.adapters[name]
        assert isinstance(found, Bottleneck)
        return found

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        adapter = self._acting()
        if adapter is not None and adapter.beside:
            self._inputs[threading.get_ident()] = _first(args, kwargs)

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        adapter = self._acting()
        if adapter is None:
            return None
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        read = hidden
        if adapter.beside:
            read = self._inputs.pop(threading.get_ident()) if self._apart else _first(args, kwargs)
        summed = hidden + adapter(read)
        return (summed, *output[1:]) if isinstance(output, tuple) else summed


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else next(iter(kwargs.values()))
    return found


def insert(model: nn.Module, name: str, shape: Shape) -> dict[str, Bottleneck]:
    """Put an adapter that adds nothing yet into a model; it acts once `use` says so.

    Args:
        name: Under which it is switched on; no other adapter of the model has it.

    Returns:
        Its parts by block and place, such as "3.feed_forward".

    Raises:
        ValueError: The model has no such blocks, or a sub-layer was not found in one of them.
    """
    prefix, blocks = block_list(model)
    beyond = [number for number in shape.blocks if not 0 <= number < len(blocks)]
    if beyond:
        raise ValueError(f"it has {len(blocks)} blocks, numbered from 0; there is no block {beyond[0]}")
    width = hidden_width(model, prefix)
    places, switch = PLACES[shape.placement], _switch(model) or Switch()
    # All are found before the first is changed, so that a refused model is as it was.
    found = [(number, place, _ends(blocks[number], place, width)) for number in shape.blocks for place in places]
    for number, place, (begins, ends) in found:
        site = _site(blocks[number], place, switch, begins, ends)
        beside = shape.placement == "parallel"
        site.adapters[name] = Bottleneck(width, shape.width, shape.activation, shape.scale, beside)
    return parts(model, name)


def _ends(block: nn.Module, place: Place, width: int) -> tuple[nn.Module, nn.Module]:
    if place == "feed_forward":
        return feed_forward(block, width)
    end = attention_end(block, width)
    return end, end


def _site(block: nn.Module, place: Place, switch: Switch, begins: nn.Module, ends: nn.Module) -> Site:
    if not hasattr(block, ADAPTERS):
        block.add_module(ADAPTERS, nn.ModuleDict())
    sites = block.get_submodule(ADAPTERS)
    assert isinstance(sites, nn.ModuleDict)
    if place not in sites:
        sites[place] = Site(switch, begins, ends)
    site = sites[place]
    assert isinstance(site, Site)
    return site


def _sites(model: nn.Module) -> Iterator[tuple[str, Site]]:
    """Block and place of every site, such as "3.feed_forward", and the site."""
    for number, block in enumerate(block_list(model)[1]):
        for place, site in getattr(block, ADAPTERS, {}).items():
            yield f"{number}.{place}", site


def parts(model: nn.Module, name: str) -> dict[str, Bottleneck]:
    """The parts of an adapter by block and place."""
    return {key: site.adapters[name] for key, site in _sites(model) if name in site.adapters}  # type: ignore[misc]


def names(model: nn.Module) -> list[str]:
    """The adapters in a model, sorted."""
    sites = [module for module in model.modules() if isinstance(module, Site)]
    return sorted({name for site in sites for name in site.adapters})


def _switch(model: nn.Module) -> Switch | None:
    return next((module.switch for module in model.modules() if isinstance(module, Site)), None)


def active(model: nn.Module) -> str | None:
    """The adapter that acts here and now; None where the model is the base."""
    switch = _switch(model)
    return switch.acting if switch is not None else None


def use(model: nn.Module, name: str | None) -> None:
    """Let one adapter act, or none."""
    switch = _switch(model)
    if switch is not None:
        switch.usual = name


@contextmanager
def using(model: nn.Module, name: str | None) -> Iterator[None]:
    """Let one adapter act, or none, within a `with` block of this thread or task alone."""
    switch = _switch(model)
    token = _USING.set((*_USING.get(), (switch, name)) if switch is not None else _USING.get())
    try:
        yield
    finally:
        _USING.reset(token)


def remove(model: nn.Module, name: str) -> None:
    """Take an adapter out; without any, the model is what it was before the first one."""
    switch = _switch(model)
    if switch is not None and switch.usual == name:
        switch.usual = None
    for block in block_list(model)[1]:
        sites: nn.ModuleDict | None = getattr(block, ADAPTERS, None)
        if sites is None:
            continue
        for place, site in list(sites.items()):
            assert isinstance(site, Site)
            if name in site.adapters:
                del site.adapters[name]
            if not site.adapters:
                site.take_out()
                del sites[place]
        if not sites:
            delattr(block, ADAPTERS)


def adds_nothing(model: nn.Module, name: str) -> bool:
    """Whether an adapter's output projections are zero, so that the model is the base."""
    return all(not torch.any(value) for part in parts(model, name).values() for value in part.up.parameters())
