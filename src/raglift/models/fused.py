"""A language model's layers made quick for inference in bfloat16 on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from raglift.models.packed import PackedLinear, can_pack, pack_linears, with_hooks_of

_ROWS = 2048
_SILU = ("SiLU", "SiLUActivation")


class FusedGate(nn.Module):
    """`down(silu(gate(x)) * up(x))` with the activation and the product done inside the matrix products."""

    def __init__(self, gate: PackedLinear, up: PackedLinear, down: PackedLinear) -> None:
        super().__init__()
        self.inputs = gate.inputs
        self._gate, self._up, self._down = gate, up, down

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        found: Tensor = self._down(self._up.times(x, self._gate.swish(x)))
        return found


class FusedRMSNorm(nn.Module):
    """Root-mean-square norm in one pass; the mean is taken in float32."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.inputs = weight.shape[0]
        self._weight = weight.detach()
        self._epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        return nn.functional.rms_norm(x, self._weight.shape, self._weight, self._epsilon)


def quicken(model: PreTrainedModel) -> PreTrainedModel:
    """Make a model that is never trained or saved from here on faster, where it is in bfloat16 on a processor.

    Linear layers are packed, gated feed-forward layers and norms of the common form are fused; each part is tried
    against the one that it replaces. Any other model comes back as it is.
    """
    if model.device.type == "cpu" and model.dtype == torch.bfloat16 and can_pack():
        with torch.inference_mode():
            _fuse(model)
    return model


def _fuse(model: nn.Module) -> None:
    pack_linears(model, _ROWS)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            found = _fused(child)
            if found is not None and _same(child, with_hooks_of(child, found)):
                setattr(parent, name, found)


def _fused(module: Any) -> nn.Module | None:
    """What may take the module's place."""
    kind = type(module).__name__
    if kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon") and hasattr(module, "weight"):
        return FusedRMSNorm(module.weight, float(module.variance_epsilon))
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if kind.endswith("MLP") and type(getattr(module, "act_fn", None)).__name__ in _SILU:
        gate, up, down = parts
        if isinstance(gate, PackedLinear) and isinstance(up, PackedLinear) and isinstance(down, PackedLinear):
            return FusedGate(gate, up, down)
    return None


def _same(module: nn.Module, fused: nn.Module) -> bool:
    width = fused.inputs if isinstance(fused, FusedGate | FusedRMSNorm) else 0
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, width, generator=generator).bfloat16()
    expected = module(x)
    return bool((fused(x) - expected).float().std() < 0.02 * expected.float().std())
