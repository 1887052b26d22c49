"""The quick LoRA layer is PEFT's: the same values and gradients, and PEFT's own wherever it is more than plain."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from raglift.models import low_rank
from raglift.models.low_rank import QuickLinear, quicken_lora


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 20, bias=True)
        self.second = nn.Linear(20, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return Tensor(self.second(torch.tanh(self.first(x))))


def adapted(**settings: Any) -> tuple[PeftModel, PeftModel]:
    """PEFT's own and the quick one, with the same learned matrices."""
    torch.manual_seed(0)
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["first", "second"], **settings})
    theirs: Any = get_peft_model(Two(), config)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    quick = copy.deepcopy(theirs)
    quicken_lora(quick)
    assert sum(type(module) is QuickLinear for module in quick.modules()) == 2
    return theirs, quick


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the quick function is called."""
    seen: list[int] = []
    apply = low_rank._Beside.apply

    def counted(*args: Any) -> Any:
        seen.append(1)
        return apply(*args)

    monkeypatch.setattr(low_rank._Beside, "apply", counted)
    return seen


def inputs(*shape: int, **options: Any) -> Tensor:
    return torch.randn(*shape, 12, generator=torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (1, 1, 7)])
@pytest.mark.parametrize("needs", [True, False])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}])
def test_values_and_gradients(shape: tuple[int, ...], needs: bool, settings: dict[str, Any], calls: list[int]) -> None:
    found = []
    for model in adapted(**settings):
        x = inputs(*shape).requires_grad_(needs)
        output = model(x)
        (output * torch.linspace(-1, 1, 8)).sum().backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        assert len(gradients) == 4
        found.append((output, x.grad, gradients))
    assert len(calls) == 2
    torch.testing.assert_close(found[0][0], found[1][0])
    if needs:
        torch.testing.assert_close(found[0][1], found[1][1])
    for name, gradient in found[0][2].items():
        torch.testing.assert_close(found[1][2][name], gradient, rtol=1e-5, atol=1e-5)


def test_under_autocast_it_errs_no_more_than_pefts() -> None:
    theirs, quick = adapted()
    exact = theirs(inputs(40)).detach()
    errors, gradients = [], []
    for model in (theirs, quick):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(inputs(40))
        assert output.dtype == torch.bfloat16
        output.float().square().mean().backward()
        errors.append(float((output.float() - exact).square().mean()))
        gradients.append([value.grad for value in model.parameters() if value.grad is not None])
    assert errors[1] < 1.5 * errors[0]
    for mine, other in zip(gradients[1], gradients[0], strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - other).norm()) < 0.05 * float(other.norm())


def test_a_frozen_base_in_half_precision_gives_half_precision() -> None:
    for model in adapted():
        for name, parameter in model.named_parameters():
            if "lora_" not in name:
                parameter.data = parameter.data.bfloat16()
        assert model(inputs(4).bfloat16()).dtype == torch.bfloat16


def disabled(model: PeftModel) -> Tensor:
    with model.disable_adapter():
        return Tensor(model(inputs(3)))


def merged(model: PeftModel) -> Tensor:
    model.merge_adapter()
    return Tensor(model(inputs(3)))


def hooked(model: PeftModel) -> Tensor:
    for module in model.modules():
        if hasattr(module, "base_layer"):
            module.base_layer.register_forward_hook(lambda *args: args[-1] * 2)
    return Tensor(model(inputs(3)))


def unfrozen(model: PeftModel) -> Tensor:
    model.requires_grad_(True)
    return Tensor(model(inputs(3)))


def dropped(model: PeftModel) -> Tensor:
    model.train()
    torch.manual_seed(5)
    return Tensor(model(inputs(3)))


@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({}, disabled),
        ({}, merged),
        ({}, hooked),
        ({}, unfrozen),
        ({"lora_dropout": 0.5}, dropped),
        ({"use_dora": True}, dropped),
        ({"lora_bias": True}, dropped),
    ],
)
def test_what_is_more_than_plain_is_pefts_own(
    settings: dict[str, Any], call: Callable[[PeftModel], Tensor], calls: list[int]
) -> None:
    theirs, quick = adapted(**settings)
    assert torch.equal(call(quick), call(theirs))
    assert not calls


def test_peft_merges_it_and_takes_it_off() -> None:
    theirs, quick = adapted()
    expected = theirs(inputs(3))
    whole = quick.merge_and_unload()  # type: ignore[operator]
    assert type(whole.first) is nn.Linear
    torch.testing.assert_close(whole(inputs(3)), expected)
