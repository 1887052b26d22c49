"""Vectors whose first dimensions are vectors too."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator, model_validator
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from raglift.config_check import check_objective
from raglift.config_fields import PluginSpec, Spec, wrong
from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.find import FoundModel
from raglift.plugins import load
from raglift.training.embedding_objective import Compare, EmbeddingObjective


class Matryoshka(EmbeddingObjective):
    """Another objective, on the vectors and on their first dimensions: a weighted sum.

    What comes out may be cut, to make an index smaller and faster, with little loss: `SentenceTransformer(folder,
    truncate_dim=128)`.

    References:
        Kusupati et al. 2022, "Matryoshka Representation Learning", equation 1.
    """

    when: ClassVar[str] = "the index is to be smaller or faster: vectors that may be cut"
    paper: ClassVar[str] = "Kusupati et al. 2022, equation 1"

    objective: Spec = Field(
        default=PluginSpec(name="multiple_negatives"), description="the objective that is computed at each length"
    )
    dims: tuple[int, ...] = Field(
        default=(384, 256, 128, 64), description="lengths of vectors, the model's own among them"
    )
    weights: tuple[float, ...] | None = Field(default=None, description="a weight for each length; null: 1 each")

    @field_validator("objective")
    @classmethod
    def _embeds(cls, spec: PluginSpec) -> PluginSpec:
        if spec.name == "matryoshka":
            raise wrong("must be another objective than 'matryoshka'")
        for _, message in check_objective("embedding", spec):
            raise wrong(message)
        return spec

    @model_validator(mode="after")
    def _fitting(self) -> Matryoshka:
        if not self.dims or min(self.dims) < 1 or len(set(self.dims)) < len(self.dims):
            raise wrong("dims must be different whole numbers above 0", "dims")
        if self.weights is not None and (len(self.weights) != len(self.dims) or min(self.weights) <= 0):
            raise wrong("weights must be as many as dims, and above 0", "weights")
        return self

    @property
    def inner(self) -> EmbeddingObjective:
        """The objective that is computed at each length."""
        made: EmbeddingObjective = load("objective", self.objective.name)(**self.objective.settings)
        return made

    def depends(self) -> list[Any]:
        """The objective inside, with its defaults."""
        inner = self.inner
        return [inner.version, inner.model_dump(mode="json"), *inner.depends()]

    def check(self, base: FoundModel) -> None:
        """Whether the lengths fit the model's vectors, and what the objective inside asks for."""
        self.inner.check(base)
        self._fit(load_encoder(base.path, Runtime(torch.device("cpu"), torch.float32, torch.get_num_threads())))

    def _fit(self, model: SentenceTransformer) -> None:
        whole = model.get_embedding_dimension()
        if max(self.dims) != whole:
            raise UserError(
                f"matryoshka's dims {list(self.dims)} do not fit the embedding model.",
                f"Its vectors have {whole} dimensions; the longest of dims is to be that.",
                f"Set dims to {whole} and shorter ones.",
            )

    def needs_teacher(self) -> PluginSpec | None:
        """The inner objective's."""
        return self.inner.needs_teacher()

    def compares_batch(self) -> bool:
        """Whether the inner objective does."""
        return self.inner.compares_batch()

    def chunk(self) -> int | None:
        """Texts that go through the model at once, as the inner objective says."""
        return self.inner.chunk()

    def weight(self, batch: Any) -> float:
        """What a batch counts under the inner objective."""
        return self.inner.weight(batch)

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors.

        Raises:
            UserError: The lengths do not fit the model's vectors.
        """
        assert isinstance(model, SentenceTransformer)
        self._fit(model)
        inner = self.inner.compare(model)
        parts = list(zip(self.dims, self.weights or [1.0] * len(self.dims), strict=True))

        def compute(vectors: list[Tensor], batch: Any) -> Tensor:
            losses = [weight * inner([_cut(found, dim) for found in vectors], batch) for dim, weight in parts]
            return torch.stack(losses).sum()

        return compute


def _cut(vectors: Tensor, dim: int) -> Tensor:
    return torch.nn.functional.normalize(vectors[:, :dim], dim=1)


PLUGIN = Matryoshka
