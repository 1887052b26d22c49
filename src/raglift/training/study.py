"""What a strategy may look at before the first step: the base weights, the data, and gradients on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from raglift.progress import Progress
from raglift.records import Target
from raglift.training.parameters import trainable


class Batches(Protocol):
    """Training data: the same batch for the same place, however often it is asked for."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def batch(self, epoch: int, index: int) -> Any:
        """Batch `index` of `epoch`; epochs are shuffled differently."""


@dataclass(frozen=True, slots=True)
class Study:
    """The training as it stands before its first step.

    Attributes:
        base: The weights that may change, by name, as they are now.
        loss: The objective, of a model and a batch.
        precision: The context in which losses are computed: autocast where the machine is faster with it.
    """

    target: Target
    base: Mapping[str, Tensor]
    batches: Batches
    loss: Callable[[nn.Module, Any], Tensor]
    precision: Callable[[], contextlib.AbstractContextManager[Any]]
    seed: int
    display: Progress

    def gradients(self, model: nn.Module, most: int, name: str) -> Iterator[dict[str, Tensor]]:
        """The objective's gradient by parameter name on each of the first `most` batches, without dropout.

        A parameter that a batch does not reach is not in its mapping. The model's gradients are cleared and its mode is
        given back at the end.

        Args:
            most: Batches that are looked at; never more than an epoch.
            name: What the pass is for, shown beside its progress.
        """
        parameters, training = trainable(model), model.training
        model.eval()
        count = min(most, len(self.batches))
        try:
            with self.display.stage(name, count, "batches") as bar:
                for index in range(count):
                    with self.precision():
                        loss = self.loss(model, self.batches.batch(0, index))
                    loss.backward()  # type: ignore[no-untyped-call]
                    yield {key: p.grad for key, p in parameters.items() if p.grad is not None}
                    model.zero_grad(set_to_none=True)
                    bar.advance(1)
        finally:
            model.zero_grad(set_to_none=True)
            model.train(training)


def without_learning(model: nn.Module, base: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """The model's output with `base` in the place of what it has learned, without gradients and without a second copy.

    With an adapter, the base is the adapter switched off, since an adapter starts from the base exactly.
    """
    with torch.no_grad():
        return torch.func.functional_call(model, dict(base), args, kwargs)
