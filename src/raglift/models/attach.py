"""A training that was kept as a difference from its base, put back onto the base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from raglift import plugins

if TYPE_CHECKING:
    from raglift.models.adapters._base import AdapterFormat


def difference(folder: Path) -> AdapterFormat | None:
    """The form in which the folder holds a difference from a base; None where it holds a whole model."""
    for name in plugins.names("adapter format"):
        form: AdapterFormat = plugins.load("adapter format", name)
        if (folder / form.marker).exists():
            return form
    return None


def attach(model: nn.Module, folder: Path) -> nn.Module:
    """The base with the difference in `folder` in it, in evaluation mode.

    Raises:
        ValueError: The folder holds no difference from a base.
    """
    form = difference(folder)
    if form is None:
        raise ValueError(f"{folder} holds no adapter")
    return form.attach(model, folder).eval()
