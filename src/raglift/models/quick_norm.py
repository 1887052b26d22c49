"""Root-mean-square norm with a backward pass of its own, for training: half the passes over memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class _Norm(torch.autograd.Function):
    """`weight * x / rms(x)`, the mean in float32, rounded to `x`'s dtype before the weight is applied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        scale = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        found: Tensor = weight * (wide * scale).to(x.dtype)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        normed = x.float() * scale
        on_weight = None
        if ctx.needs_input_grad[1]:
            on_weight = (gradient * normed.to(x.dtype)).flatten(0, -2).sum(0).to(weight.dtype)
        above = (gradient * weight).float()
        along = torch.linalg.vecdot(above, normed).div_(-x.shape[-1]).unsqueeze(-1)
        return above.addcmul_(normed, along).mul_(scale).to(x.dtype), on_weight, None


def _forward(module: Any, x: Tensor) -> Tensor:
    found: Tensor = _Norm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return found


def quicken_norms(model: nn.Module) -> None:
    """Make the model's norms quick where they are of the common form: each is tried against what it was."""
    for module in model.modules():
        common = type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")
        if common and isinstance(getattr(module, "weight", None), Tensor) and _same(module):
            module.forward = partial(_forward, module)


@torch.no_grad()
def _same(module: Any) -> bool:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *module.weight.shape, generator=generator).to(module.weight.device, module.weight.dtype)
    try:
        expected = module(x)
        found = _forward(module, x)
    except (RuntimeError, TypeError, ValueError):
        return False
    far = 0.02 if x.dtype == torch.bfloat16 else 1e-4
    return found.dtype == expected.dtype and bool((found - expected).float().norm() < far * expected.float().norm())
