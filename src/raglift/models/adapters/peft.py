"""PEFT's adapter folders."""

from __future__ import annotations

from pathlib import Path

from peft import PeftModel
from torch import nn


class Peft:
    """An adapter that PEFT wrote; merged into the weights."""

    marker = "adapter_config.json"

    def attach(self, model: nn.Module, folder: Path) -> nn.Module:
        """The base with the adapter merged into it."""
        merged: nn.Module = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        return merged


PLUGIN = Peft()
