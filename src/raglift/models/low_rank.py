"""PEFT's LoRA layer with a forward and a backward pass of their own: the same function in fewer passes over memory.

PEFT casts the layer's input to float32 for the thin matrices, autocast casts it back, and the product is scaled and
added in two more passes; for a small model on a processor that takes as long as the thin matrices' own products several
times over. Here they are added where the frozen layer has just written, and what is kept for the backward pass is the
input once and the narrow product.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn


class _Beside(torch.autograd.Function):
    """`x W^T + b + scale * (x A^T) B^T`, with gradients for `x`, `A` and `B`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        dtype = x.dtype
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ down.to(dtype).T
        found = nn.functional.linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))
        found.addmm_(narrow, up.to(dtype).T, alpha=scale)
        ctx.save_for_backward(rows, weight, down, up, narrow)
        ctx.scale = scale
        return found.view(*x.shape[:-1], len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, narrow = ctx.saved_tensors
        above = gradient.reshape(-1, gradient.shape[-1])
        on_narrow = (above @ up.to(above.dtype)) * ctx.scale
        on_x = None
        if ctx.needs_input_grad[0]:
            on_x = above @ weight.to(above.dtype)
            on_x.addmm_(on_narrow, down.to(above.dtype))
            on_x = on_x.view(*gradient.shape[:-1], down.shape[1])
        on_down = (on_narrow.T @ rows).to(down.dtype)
        on_up = (above.T @ narrow * ctx.scale).to(up.dtype)
        return on_x, None, None, on_down, on_up, None


class QuickLinear(Linear):
    """PEFT's `lora.Linear`, which it becomes again wherever it is more than a frozen layer and one plain adapter."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(…, in) -> (…, out)."""
        adapter = None if args or kwargs else self._only_adapter()
        if adapter is None:
            found: Tensor = super().forward(x, *args, **kwargs)
            return found
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        base, down, up = self.base_layer, self.lora_A[adapter].weight, self.lora_B[adapter].weight
        with torch.autocast(kind, enabled=False):
            found = _Beside.apply(x, base.weight, base.bias, down, up, self.scaling[adapter])  # type: ignore[no-untyped-call]
        return found

    def _only_adapter(self) -> str | None:
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        (name,), base = self.active_adapters, self.base_layer
        if name not in self.lora_A or name in self.lora_variant or not _plain(base) or base.weight.requires_grad:
            return None
        if base.bias is not None and base.bias.requires_grad:
            return None
        dropout, down, up = self.lora_dropout[name], self.lora_A[name], self.lora_B[name]
        dropping = isinstance(dropout, nn.Dropout) and dropout.p > 0 and self.training
        if dropping or not isinstance(dropout, nn.Dropout | nn.Identity):
            return None
        plain = _plain(down) and _plain(up) and down.bias is None and up.bias is None
        return name if plain else None


def _plain(module: nn.Module) -> bool:
    """Whether it is a linear layer and nothing hangs on it."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


def quicken_lora(model: nn.Module) -> None:
    """Make the model's LoRA layers quick; they stay PEFT's own for all that PEFT does with them."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = QuickLinear
