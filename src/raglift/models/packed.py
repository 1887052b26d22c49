"""Linear layers whose bfloat16 weights are laid out once as the processor's matrix product wants them."""

from __future__ import annotations

import platform

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """`nn.Linear` for inference alone: oneDNN otherwise reorders the weights at every call, which costs a tenth of the
    time of a small embedding model.

    Args:
        linear: A layer in bfloat16 on the processor.
        rows: Tokens in a usual batch; other numbers give the same result, a little slower.
    """

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        self.inputs, self.outputs = linear.in_features, linear.out_features
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return found

    def swish(self, x: Tensor) -> Tensor:
        """`silu(forward(x))`, the activation applied where the product is still in a register."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "swish", [], "")
        return found

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """`forward(x) * other`, multiplied there too."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, self._bias, "mul")
        return found


def can_pack() -> bool:
    """Whether this processor and this build of torch multiply bfloat16 by oneDNN."""
    ops = torch.ops.mkldnn
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(ops, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
        and bool(ops._is_mkldnn_bf16_supported())
    )


def with_hooks_of(old: nn.Module, new: nn.Module) -> nn.Module:
    """`new`, which takes the place of `old`, with the forward hooks that adapters have put on it."""
    for kind in ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"):
        getattr(new, kind).update(getattr(old, kind))
    return new


def pack_linears(model: nn.Module, rows: int) -> None:
    """Replace every plain `nn.Linear` of `model`, which must never be trained or saved afterwards.

    T5's feed-forward layers and PEFT's adapters read the weights of their parts themselves, and are left as they are.
    """
    for name, child in list(model.named_children()):
        reads_weights = type(model).__name__.endswith(("DenseActDense", "DenseGatedActDense"))
        if reads_weights or isinstance(child, BaseTunerLayer):
            continue
        if type(child) is nn.Linear:
            setattr(model, name, with_hooks_of(child, PackedLinear(child, rows)))
        else:
            pack_linears(child, rows)
