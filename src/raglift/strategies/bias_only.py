"""Only the biases change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import nn

from raglift.models.adapters import sparse
from raglift.models.reranker import head
from raglift.records import Target
from raglift.training.parameters import trainable
from raglift.training.strategy import Axis, Strategy


class BiasOnly(Strategy):
    """BitFit: every bias learns, those of the norms included, and nothing else.

    A model without biases, such as Llama, has none to learn: there the weights of the norms do, which scale as biases
    shift. A reranker's head learns whole.
    """

    axis: ClassVar[Axis] = "parameters"
    family: ClassVar[str] = "parameter-efficient fine-tuning"
    approach: ClassVar[str] = "selected parameters"
    when: ClassVar[str] = "very little data, or many variants of one base: a thousandth of its weights"
    paper: ClassVar[str] = "Ben Zaken et al. 2022, BitFit"
    full_precision: ClassVar[bool] = True
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 5e-3, "llm": 5e-3, "rerank": 5e-3}

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze all but the biases, or the norms' weights where there are none.

        Raises:
            ValueError: The model has neither.
        """
        found = [parameter for name, parameter in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        found = found or [
            parameter
            for module in model.modules()
            if "norm" in type(module).__name__.lower()
            for parameter in module.parameters(recurse=False)
        ]
        if not found:
            raise ValueError("it has neither biases nor norms")
        model.requires_grad_(False)
        for parameter in (*found, *head(model).values()):
            parameter.requires_grad_(True)
        return model

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write what learned alone, as a difference from the base."""
        sparse.write(folder, {name: (parameter, None) for name, parameter in trainable(model).items()})
        return True


PLUGIN = BiasOnly
