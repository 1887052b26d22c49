"""What a form of difference offers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import nn


class AdapterFormat(Protocol):
    """Recognised by a file, put onto the base by `attach`.

    Attributes:
        marker: The file in a folder that says that the folder is of this form.
        merges: Whether `attach` leaves nothing but the base's own weights, so that the whole can be saved.
    """

    marker: str
    merges: bool

    def attach(self, model: nn.Module, folder: Path) -> nn.Module:
        """The base with the difference in it: merged into its weights where the form allows that."""
