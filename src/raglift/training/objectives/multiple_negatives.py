"""In-batch negatives for the embedding model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn

from raglift.config_fields import wrong
from raglift.training.columns import owners
from raglift.training.embedding_objective import Compare, EmbeddingObjective, cosine

Direction = Literal["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"]
_HOLD_THE_PAIR = {"query_to_doc", "doc_to_query"}


class MultipleNegatives(EmbeddingObjective):
    """sentence-transformers' MultipleNegativesRankingLoss; both directions unless others are named.

    Each query's own passage must score above every other passage of the batch, and each passage's own query above every
    other query (symmetric InfoNCE over cosines scaled by 20). `query_to_query` and `doc_to_doc` push queries, or the
    passages of different queries, away from each other too.

    References:
        Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section 4.4.
        van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4.
        Li et al. 2023, "Towards General Text Embeddings with Multi-stage Contrastive Learning" (all four directions
        under one softmax).

    Inputs:
        A batch is a list of columns; a column is what `SentenceTransformer.preprocess` returns for B texts: queries
        first, then positives, then any hard negatives.

    Example:
        >>> loss = MultipleNegatives().build(model)
        >>> loss(model, [model.preprocess(queries), model.preprocess(passages)]).backward()
    """

    when: ClassVar[str] = "questions with one right passage each; the default for embedding models"
    paper: ClassVar[str] = "Henderson et al. 2017, section 4.4"

    scale: float = Field(default=20.0, gt=0, description="what cosines are multiplied by; the inverse temperature")
    directions: tuple[Direction, ...] = Field(
        default=("query_to_doc", "doc_to_query"), description="what is told apart; `query_to_doc` must be among them"
    )
    partition_mode: Literal["auto", "per_direction", "joint"] = Field(
        default="auto",
        description="a softmax for each direction, or one over all; auto: for each where each holds the right pair",
    )

    @model_validator(mode="after")
    def _possible(self) -> MultipleNegatives:
        if "query_to_doc" not in self.directions or len(set(self.directions)) < len(self.directions):
            raise wrong("directions must hold 'query_to_doc', and each direction once", "directions")
        if self.partition_mode == "per_direction" and not _HOLD_THE_PAIR.issuperset(self.directions):
            raise wrong(
                "partition_mode must be 'joint' with 'query_to_query' or 'doc_to_doc', which hold no right pair",
                "partition_mode",
            )
        return self

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors."""
        assert isinstance(model, SentenceTransformer)
        each = self.partition_mode != "joint" and _HOLD_THE_PAIR.issuperset(self.directions)
        of_rows = "doc_to_doc" in self.directions  # the one that asks whose hard negative a passage is
        loss = MultipleNegativesRankingLoss(
            model,
            scale=self.scale,
            similarity_fct=_cosine_of_present if of_rows else cosine,
            directions=self.directions,
            partition_mode="per_direction" if each else "joint",
        )

        def compute(vectors: list[Tensor], batch: Any) -> Tensor:
            if of_rows:
                count, columns = len(vectors[0]), zip(vectors[2:], owners(batch), strict=True)
                vectors = [*vectors[:2], *(_spread(found, rows, count) for found, rows in columns)]
            value: Tensor = loss.compute_loss_from_embeddings(vectors, torch.empty(0))
            return value

        return compute


def _spread(vectors: Tensor, rows: Tensor, count: int) -> Tensor:
    """A column of hard negatives as (count, D), each in the row of its own query; zero where there is none."""
    return vectors.new_zeros(count, vectors.shape[1]).index_copy(0, rows, vectors)


def _cosine_of_present(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of rows; what stands for no passage is like nothing, and adds nothing to a softmax."""
    absent = (left == 0).all(1).unsqueeze(1) | (right == 0).all(1).unsqueeze(0)
    return cosine(left, right).masked_fill(absent, -torch.inf)


PLUGIN = MultipleNegatives
