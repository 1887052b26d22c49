"""The view of a model that strategies and the loop share."""

from __future__ import annotations

from torch import nn


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training may change, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
