"""A head above an embedding, trained on vectors that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from sentence_transformers import SentenceTransformer
from torch import nn

from raglift.models.encoder import Encoder
from raglift.models.head import Head, Sides, put_on, take_off
from raglift.models.vectors import Vectors
from raglift.records import Target
from raglift.training.strategy import Axis, Shortened, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from raglift.models.device import Runtime
    from raglift.training.strategy import State


class EmbeddingHead(Strategy):
    """The embedding model stays; a small network moves its vectors, at the start to where they are.

    The base encodes every text once, and the steps work on its vectors alone. See `raglift.models.head.Head`.
    """

    axis: ClassVar[Axis] = "parameters"
    targets: ClassVar[frozenset[Target]] = frozenset({"embedding"})
    family: ClassVar[str] = "adapter-based fine-tuning"
    approach: ClassVar[str] = "embedding adapter"
    when: ClassVar[str] = "training in seconds; an index that must not be rebuilt; embeddings behind an API"
    paper: ClassVar[str] = "Yoon et al. 2024, Search-Adaptor; LlamaIndex's embedding adapters"
    learning_rates: ClassVar[Mapping[Target, float]] = {"embedding": 1e-3}
    layered: ClassVar[bool] = False

    layers: Literal[1, 2] = Field(1, description="1: a matrix; 2: two layers with a ReLU between, beside the vector")
    sides: Sides = Field("query", description="whose vectors move: query, which keeps the index; or both")
    hidden: int = Field(1024, ge=1, description="width between two layers")

    @property
    def keeps_passages(self) -> bool:
        """With a head on the queries alone."""
        return self.sides == "query"

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened:
        """The model's vectors, looked up."""
        assert isinstance(model, SentenceTransformer)
        encoder = Encoder(model, runtime)
        short = SentenceTransformer(modules=[Vectors(encoder.encode, encoder.dimension)], device=str(model.device))

        def whole(trained: nn.Module) -> nn.Module:
            assert isinstance(trained, SentenceTransformer)
            return put_on(model, take_off(trained))

        return Shortened(short, whole)

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze the model and put the head above it."""
        assert isinstance(model, SentenceTransformer)
        dimension = int(model.get_embedding_dimension() or 0)
        head = Head(dimension, self.sides, self.hidden if self.layers == 2 else None)
        return put_on(model.requires_grad_(False), head)

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        """Take the share of the change, before its length is put right: of the matrix, or of the gate."""
        scaled = (".change.weight", ".gate")
        return {name: tensor * share if name.endswith(scaled) else tensor.clone() for name, tensor in tuned.items()}

    def finish(self, model: nn.Module) -> nn.Module:
        """Put sentence-transformers' own modules in the head's place; nothing where it moves nothing."""
        assert isinstance(model, SentenceTransformer)
        head = take_off(model)
        if not head.identity:
            model.extend(head.plain())
        return model


PLUGIN = EmbeddingHead
