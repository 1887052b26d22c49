"""A quickened model says what it said before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from raglift.models.device import Runtime
from raglift.models.fused import FusedGate, FusedRMSNorm, quicken
from raglift.models.llm import load_causal_lm
from raglift.models.packed import PackedLinear, can_pack
from tests.tasks import RUNTIME

IDS = torch.arange(3, 40).view(1, -1)


@pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bfloat16 by oneDNN")
def test_a_bfloat16_model_keeps_its_logits(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, Runtime(RUNTIME.device, torch.bfloat16, 1))
    with torch.inference_mode():
        before = model(IDS).logits.float()
        after = quicken(model)(IDS).logits.float()
    # As near as one rounding of bfloat16 is to another, which the plain model differs by from float32 too.
    exact = load_causal_lm(tiny_llm, RUNTIME)
    with torch.inference_mode():
        rounding = (before - exact(IDS).logits).std()
    assert 0 < (after - before).std() < 3 * rounding
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(FusedGate) == 2
    assert kinds.count(FusedRMSNorm) == 5
    assert nn.Linear not in kinds


def test_a_float32_model_stays_as_it_is(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    kinds = [type(module) for module in model.modules()]
    assert [type(module) for module in quicken(model).modules()] == kinds


@pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bfloat16 by oneDNN")
def test_layers_that_only_look_alike_are_left_alone() -> None:
    """A norm that adds one to its weight (as some models do), and a gate with its parts the other way round."""

    class OffsetRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((8,), 0.5).bfloat16())
            self.variance_epsilon = 1e-6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.rms_norm(x, (8,), self.weight + 1, self.variance_epsilon)

    class SwappedMLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate_proj, self.up_proj = nn.Linear(8, 16).bfloat16(), nn.Linear(8, 16).bfloat16()
            self.down_proj, self.act_fn = nn.Linear(16, 8).bfloat16(), nn.SiLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.down_proj(self.act_fn(self.up_proj(x)) * self.gate_proj(x))
            return found

    from raglift.models.fused import _fuse

    torch.manual_seed(0)
    model = nn.Sequential(OffsetRMSNorm(), SwappedMLP())
    with torch.inference_mode():
        _fuse(model)
    assert [type(layer) for layer in model] == [OffsetRMSNorm, SwappedMLP]
    assert isinstance(model[1].gate_proj, PackedLinear)
