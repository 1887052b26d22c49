"""Pairs of a question's passages, weighted by what their order is worth to nDCG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from sentence_transformers.cross_encoder.losses import (
    LambdaLoss as LibraryLambdaLoss,
)
from sentence_transformers.cross_encoder.losses import (
    LambdaRankScheme,
    NDCGLoss2PPScheme,
    NDCGLoss2Scheme,
    NoWeightingScheme,
)
from sentence_transformers.cross_encoder.losses.lambda_loss import BaseWeightingScheme
from torch import Tensor, nn

from raglift.training.lists import Lists
from raglift.training.rerank_objective import RerankObjective

Weighting = Literal["ndcg_loss2pp", "ndcg_loss2", "lambda_rank", "none"]
_SCHEMES: Mapping[Weighting, type[BaseWeightingScheme]] = {
    "ndcg_loss2pp": NDCGLoss2PPScheme,
    "ndcg_loss2": NDCGLoss2Scheme,
    "lambda_rank": LambdaRankScheme,
    "none": NoWeightingScheme,
}


class LambdaLoss(RerankObjective):
    """sentence-transformers' LambdaLoss: the logistic loss of each pair of a question's passages that differ in
    rightness, weighted by how much nDCG would change if they changed places; a mean over such pairs.

    References:
        Wang et al. 2018, "The LambdaLoss Framework for Ranking Metric Optimization", equations 10 to 18.
        Burges 2010, "From RankNet to LambdaRank to LambdaMART" (the weighting `lambda_rank`).
    """

    when: ClassVar[str] = "many wrong passages a question: those that stand near the top count most"
    paper: ClassVar[str] = "Wang et al. 2018, LambdaLoss"

    weighting: Weighting = Field(
        default="ndcg_loss2pp", description="of pairs: ndcg_loss2pp, ndcg_loss2, lambda_rank or none"
    )
    sigma: float = Field(default=1.0, gt=0, description="what differences of scores are multiplied by")

    def compare(self, scores: Tensor, batch: Lists) -> Tensor:
        """The mean over pairs of passages, one right and one wrong."""
        counts = torch.bincount(batch.owners).tolist()
        loss = LibraryLambdaLoss(
            _Given(scores),  # type: ignore[arg-type]
            weighting_scheme=_SCHEMES[self.weighting](),
            sigma=self.sigma,
            mini_batch_size=-1,
        )
        # The texts are for the model, which is not asked again.
        texts = [[""] * count for count in counts]
        value: Tensor = loss([[""] * len(counts), texts], list(torch.split(batch.labels, counts)))
        return value

    def weight(self, batch: Any) -> float:
        """Pairs of a right and a wrong passage of the same question."""
        right = batch.table(batch.labels).sum(1)
        return float((right * (batch.known.sum(1) - right)).sum())


class _Given(nn.Module):
    """Stands for the cross-encoder in a loss of sentence-transformers: its scores are known already."""

    num_labels = 1

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self._scores = scores

    @property
    def device(self) -> torch.device:
        return self._scores.device

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Tensor]:
        """Nothing is read."""
        return {}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scores."""
        return {"scores": self._scores}


PLUGIN = LambdaLoss
