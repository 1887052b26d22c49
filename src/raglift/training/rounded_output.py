"""A language model's output layer where it is frozen: its weight is rounded for autocast once, not in every step.

Its words make it as large as many blocks. Autocast keeps what it rounds within a step, and only of weights that learn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def round_output_once(model: PreTrainedModel) -> Callable[[], None]:
    """Keep a frozen output layer's weight in the precision of autocast beside it; gives back what ends that.

    Takes 2 bytes a weight, and nothing where the weight learns or is in that precision itself.
    """
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if type(layer) is not nn.Linear:
        return lambda: None
    vars(layer)["forward"] = RoundedOnce(layer)
    return lambda: vars(layer).pop("forward", None)


class RoundedOnce:
    """Stands in the place of a linear layer's `forward`."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._forward: Callable[[Tensor], Tensor] = layer.forward
        self._rounded: Tensor | None = None
        self._of: tuple[int, int] = (0, 0)

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        weight, kind = self._layer.weight, x.device.type
        dtype = torch.get_autocast_dtype(kind)
        if not torch.is_autocast_enabled(kind) or weight.requires_grad or weight.dtype == dtype:
            return self._forward(x)
        of = weight.data_ptr(), weight._version
        if self._rounded is None or self._of != of or self._rounded.dtype != dtype:
            self._rounded, self._of = weight.detach().to(dtype), of
        return nn.functional.linear(x, self._rounded, self._layer.bias)
