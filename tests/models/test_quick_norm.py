"""The quick norm is the model's own: values and gradients, and models with another norm keep theirs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from raglift.models.quick_norm import quicken_norms

WIDTH = 24


def pair(kind: type[nn.Module], dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    theirs = kind(WIDTH)
    with torch.no_grad():
        theirs.weight.copy_(torch.linspace(0.5, 2, WIDTH))  # type: ignore[operator]
    quick = copy.deepcopy(theirs.to(dtype))
    quicken_norms(quick)
    return theirs, quick


def quickened(norm: nn.Module) -> bool:
    return "forward" in vars(norm)


def rows(dtype: torch.dtype) -> torch.Tensor:
    return (3 * torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))).to(dtype).requires_grad_()


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen2RMSNorm])
@pytest.mark.parametrize(("of_weight", "of_rows"), [(torch.float32, torch.float32), (torch.float32, torch.bfloat16)])
@pytest.mark.parametrize("learned", [True, False])
def test_values_and_gradients(
    kind: type[nn.Module], of_weight: torch.dtype, of_rows: torch.dtype, learned: bool
) -> None:
    far = {"rtol": 1e-5, "atol": 1e-5} if of_rows == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    found = []
    for norm in pair(kind, of_weight):
        norm.requires_grad_(learned)
        x = rows(of_rows)
        output = norm(x)
        (output * torch.linspace(-1, 1, WIDTH)).sum().backward()
        found.append((output, x.grad, norm.weight.grad))
    assert quickened(norm)
    for theirs, quick in zip(*found, strict=True):
        assert (theirs is None) == (quick is None)
        if theirs is not None and quick is not None:
            assert quick.dtype == theirs.dtype
            torch.testing.assert_close(quick, theirs, **far)
    assert (found[1][2] is not None) == learned


def test_in_half_precision_the_gradient_is_as_near() -> None:
    exact_norm = pair(LlamaRMSNorm)[0].double()
    errors = []
    x = rows(torch.bfloat16)
    wide = x.detach().double().requires_grad_()
    mean = wide.square().mean(-1, keepdim=True)
    (exact_norm.weight * wide * torch.rsqrt(mean + 1e-6) * torch.linspace(-1, 1, WIDTH)).sum().backward()
    for norm in pair(LlamaRMSNorm, torch.bfloat16):
        x.grad = None
        (norm(x) * torch.linspace(-1, 1, WIDTH).bfloat16()).sum().backward()
        assert x.grad is not None
        assert wide.grad is not None
        errors.append(float((x.grad.double() - wide.grad).norm()))
    assert errors[1] < 1.5 * errors[0]


def test_another_norm_stays_what_it_is() -> None:
    class ShiftedRMSNorm(LlamaRMSNorm):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    for kind in (GemmaRMSNorm, ShiftedRMSNorm):
        assert not quickened(pair(kind)[1])


def test_a_copy_has_its_own_weight() -> None:
    _, quick = pair(LlamaRMSNorm)
    other = copy.deepcopy(quick)
    with torch.no_grad():
        other.weight.mul_(2)  # type: ignore[operator]
    x = rows(torch.float32)
    torch.testing.assert_close(other(x), 2 * quick(x))
