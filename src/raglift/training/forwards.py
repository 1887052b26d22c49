"""The forward passes of a training step, written down as the objective makes them, and made again with the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from raglift.training.study import without_learning


@dataclass(frozen=True, slots=True)
class Forward:
    """One call of the model that gradients flow through.

    Attributes:
        kwargs: As they were before the call; of a mapping that was given, what it held then.
        output: The logits, the sentence embeddings, or the scores of pairs.
        randomness: Of the processor and of the model's device, before the call.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Tensor
    randomness: tuple[Tensor, Tensor | None]


@dataclass
class Forwards:
    """What `model` computes with gradients while this is open, whoever calls it.

    An objective has computed what the model says by the time that a strategy wants to compare it with the base. Calls
    without gradients (scorings, the base itself) are not written down.
    """

    model: nn.Module
    _done: list[Forward] = field(default_factory=list)
    _begun: list[tuple[Any, Any, Any]] = field(default_factory=list)
    _handles: list[RemovableHandle] = field(default_factory=list)

    def open(self) -> Forwards:
        """Begin to write down."""
        before = self.model.register_forward_pre_hook(self._before, with_kwargs=True)
        after = self.model.register_forward_hook(self._after, with_kwargs=True)
        self._handles = [before, after]
        return self

    def close(self) -> None:
        """Leave the model alone and forget."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._done, self._begun = [], [], []

    def take(self) -> list[Forward]:
        """The calls since the last time; they are forgotten here, so that their graphs can go."""
        done, self._done = self._done, []
        return done

    def _before(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.is_grad_enabled():
            # Modules of sentence-transformers write into the mapping that they are given.
            kept = tuple(dict(arg) if isinstance(arg, Mapping) else arg for arg in args)
            self._begun.append((kept, dict(kwargs), _randomness(model)))

    def _after(self, model: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            kept, keywords, randomness = self._begun.pop()
            self._done.append(Forward(kept, keywords, _tensor(output), randomness))


def by_base(model: nn.Module, base: Mapping[str, Tensor], call: Forward) -> Tensor:
    """What the base says where the model said `call.output`, without gradients.

    Dropout falls on the same units, so that a model that has learned nothing says exactly the same.
    """
    cpu, other = call.randomness
    device = _device(model)
    with torch.random.fork_rng([device] if other is not None else [], device_type=device.type):
        torch.set_rng_state(cpu)
        if other is not None:
            torch.get_device_module(device).set_rng_state(other, device)
        return _tensor(without_learning(model, base, *call.args, **call.kwargs))


def _tensor(output: Any) -> Tensor:
    """The logits of a language model's output, an embedding model's vectors, or a cross-encoder's scores."""
    if isinstance(output, Mapping):
        for name in ("scores", "sentence_embedding"):
            if name in output:
                return Tensor(output[name])
    return Tensor(output.logits)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _randomness(model: nn.Module) -> tuple[Tensor, Tensor | None]:
    device = _device(model)
    other = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), other
