"""AdaLoRA's part beside its configuration: ranks are taken from the layers that need them least while it trains.

The functions do nothing for a model without it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft import AdaLoraConfig, AdaLoraModel
from torch import Tensor, nn

_BEGIN, _END = 0.1, 0.4
"""Shares of the steps before the first rank is taken and after the last one: about those of the paper's table 8."""


def _adalora(model: nn.Module) -> AdaLoraModel | None:
    found = next((module for module in model.modules() if isinstance(module, AdaLoraModel)), None)
    return found if found is not None and hasattr(found, "rankallocator") else None


def _config(tuner: AdaLoraModel) -> AdaLoraConfig:
    config = tuner.peft_config[tuner.trainable_adapter_name]
    assert isinstance(config, AdaLoraConfig)
    return config


def schedule(model: nn.Module, total: int) -> None:
    """Spread the taking of ranks over `total` steps."""
    if (tuner := _adalora(model)) is not None:
        config = _config(tuner)
        config.total_step = total
        config.tfinal = max(1, round(_END * total))
        config.tinit = min(round(_BEGIN * total), total - config.tfinal - 1)
        config.deltaT = max(1, total // 100)


def orthogonality(model: nn.Module) -> dict[str, Tensor]:
    """The term that keeps the factors near orthogonal, by name; empty for any other tuner.

    The mean over the factors of the Frobenius norm of `A A^T - I`, or `B^T B - I`, times its weight: Zhang et al. 2023,
    equation 4, with the norm where the paper has its square, as PEFT adds it to the losses that transformers computes.
    """
    if (tuner := _adalora(model)) is None:
        return {}
    norms = []
    for name, parameter in tuner.model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            gram = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
            norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
    weight = _config(tuner).orth_reg_weight
    return {"orthogonality": weight * torch.stack(norms).mean()}


def allocate(model: nn.Module, step: int) -> None:
    """After the optimizer's step and before the gradients are cleared: score the ranks, and take what is due."""
    tuner = _adalora(model)
    if tuner is None:
        return
    config = _config(tuner)
    if (config.total_step or 0) - config.tfinal < 1:  # too short to have scored a rank before the last ones are taken
        return
    for name, parameter in tuner.model.named_parameters():
        if "lora_" in name and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)  # a layer that the loss does not reach needs no rank
    tuner.update_and_allocate(step)  # type: ignore[no-untyped-call]


def state(model: nn.Module) -> dict[str, Tensor]:
    """The scores of the ranks and which of them are left, by name."""
    if (tuner := _adalora(model)) is None:
        return {}
    allocator = tuner.rankallocator
    kept = {f"sensitivity/{name}": value for name, value in allocator.exp_avg_ipt.items()}
    kept |= {f"uncertainty/{name}": value for name, value in allocator.exp_avg_unc.items()}
    pattern = _config(tuner).rank_pattern or {}
    return kept | {f"left/{name}": torch.tensor(left) for name, left in pattern.items()}


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `state` gave."""
    tuner = _adalora(model)
    if tuner is None:
        return
    allocator = tuner.rankallocator
    allocator.reset_ipt()  # type: ignore[no-untyped-call]
    pattern: dict[str, list[bool]] = {}
    device = next(tuner.model.parameters()).device
    for key, value in state.items():
        kind, _, name = key.partition("/")
        if kind == "left":
            pattern[name] = value.tolist()
        elif kind == "sensitivity":
            allocator.ipt[name] = torch.zeros_like(value, device=device)  # it is what says that there are scores
            allocator.exp_avg_ipt[name] = value.to(device)
        else:
            allocator.exp_avg_unc[name] = value.to(device)
    _config(tuner).rank_pattern = pattern or None


def settle(model: nn.Module) -> None:
    """Have the ranks saved as the weights hold them, those that were taken as zeros.

    The chosen state may be of a step at which other ranks were left than at the last one, whose pattern PEFT would cut
    by; and it warns of a pattern and of empty factors at every load.
    """
    if (tuner := _adalora(model)) is not None:
        _config(tuner).rank_pattern = None
