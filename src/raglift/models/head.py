"""A small network above an embedding: it moves finished vectors, so it learns from vectors alone."""

from __future__ import annotations

from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Module, Normalize, Router
from torch import Tensor, nn

Sides = Literal["query", "both"]
QUERY, DOCUMENT = "query", "document"
"""sentence-transformers' names of the two tasks."""


class Head(Module):
    """`x -> normalize(x + change(x))`, where the change is zero at the start.

    Linear, without `hidden`: `change(x) = W x`, with `W` zero. Two layers: `change(x) = g (B relu(A x + a) + b)` with
    the gate `g` zero, the residual form of LlamaIndex's `TwoLayerNN` (`add_residual=True`).

    Args:
        dimension: Width of the vectors.
        sides: Whose vectors move: those of queries alone, or of passages too.
        hidden: Width of the layer between; None: no layer between.

    Inputs:
        Features with `sentence_embedding`, (B, dimension), of unit length; and `task`, which is "query" for queries.
    """

    config_keys: list[str] = ["dimension", "sides", "hidden"]  # noqa: RUF012 (as the parent class has it)

    def __init__(self, dimension: int, sides: Sides = "query", hidden: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dimension = dimension
        self.sides = sides
        self.hidden = hidden
        if hidden is None:
            self.change = nn.Linear(dimension, dimension, bias=False)
            nn.init.zeros_(self.change.weight)
        else:
            self.up = nn.Linear(dimension, hidden)
            self.down = nn.Linear(hidden, dimension)
            self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The features with the moved vectors in them."""
        if self.sides == "both" or features.get("task") == QUERY:
            features["sentence_embedding"] = self.moved(features["sentence_embedding"])
        return features

    def moved(self, vectors: Tensor) -> Tensor:
        """Where vectors of unit length go, (B, dimension), again of unit length."""
        change = self.change(vectors) if self.hidden is None else self.gate * self.down(torch.relu(self.up(vectors)))
        return nn.functional.normalize(vectors + change, dim=-1)

    @property
    def identity(self) -> bool:
        """Whether it moves nothing: as it begins, and where the base is better than anything it learned."""
        learned = self.gate if self.hidden is not None else self.change.weight
        return not bool(learned.detach().any())

    def plain(self) -> list[Module]:
        """The same in sentence-transformers' own modules."""
        layers = [*(self._one_layer() if self.hidden is None else self._two_layers()), Normalize()]
        if self.sides == "both":
            return layers
        return [Router.for_query_document(layers, [Normalize()])]

    def _one_layer(self) -> list[Module]:
        weight = self.change.weight.detach()
        dense = Dense(self.dimension, self.dimension, bias=False, activation_function=None)
        return [_filled(dense, torch.eye(self.dimension, device=weight.device) + weight)]

    def _two_layers(self) -> list[Module]:
        """x passes beside the hidden units as relu(x) - relu(-x), since `Dense` has no residual around two layers."""
        assert self.hidden is not None
        gate, width = self.gate.detach(), self.hidden + 2 * self.dimension
        up, down = self.up.weight.detach(), self.down.weight.detach()
        eye = torch.eye(self.dimension, device=up.device)
        bias = torch.cat([self.up.bias.detach(), torch.zeros(2 * self.dimension, device=up.device)])
        first = Dense(self.dimension, width, activation_function=nn.ReLU())
        second = Dense(width, self.dimension, activation_function=None)
        return [
            _filled(first, torch.cat([up, eye, -eye]), bias),
            _filled(second, torch.cat([gate * down, eye, -eye], dim=1), gate * self.down.bias.detach()),
        ]

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write its settings and its weights."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> Head:  # type: ignore[override]
        """What `save` wrote."""
        head = cls(**cls.load_config(model_name_or_path))
        loaded: Head = cls.load_torch_weights(model_name_or_path, model=head)
        return loaded


def _filled(dense: Dense, weight: Tensor, bias: Tensor | None = None) -> Dense:
    dense.linear.weight = nn.Parameter(weight.clone())
    if bias is not None:
        dense.linear.bias = nn.Parameter(bias.clone())
    return dense.to(weight.device)


def put_on(model: SentenceTransformer, head: Module) -> SentenceTransformer:
    """Put a head above a model, which gives it vectors of unit length."""
    if not isinstance(model[-1], Normalize):
        model.append(Normalize())
    model.append(head.to(model.device))
    return model


def take_off(model: SentenceTransformer) -> Head:
    """Take the head off that `put_on` put there."""
    head = model[-1]
    assert isinstance(head, Head)
    del model[-1]
    return head
