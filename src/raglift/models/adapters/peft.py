"""PEFT's adapter folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn


class Peft:
    """An adapter that PEFT wrote; merged into the weights."""

    marker = "adapter_config.json"
    merges = True

    def attach(self, model: nn.Module, folder: Path) -> nn.Module:
        """The base with the adapter merged into it."""
        if isinstance(model, nn.Sequential):  # sentence-transformers: a transformers model inside of the first module
            first: Any = model[0]
            first.model = self.attach(first.model, folder)
            return model
        merged: nn.Module = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        return merged


PLUGIN = Peft()
