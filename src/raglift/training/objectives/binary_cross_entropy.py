"""Each passage by itself: right or wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from raglift.training.lists import Lists
from raglift.training.rerank_objective import RerankObjective


class BinaryCrossEntropy(RerankObjective):
    """Binary cross-entropy of a pair's score against whether the passage answers the question, a mean over pairs.

    It is sentence-transformers' BinaryCrossEntropyLoss. Scores come to mean the same for every question, so that a
    threshold can be put on them.

    References:
        Nogueira and Cho 2019, "Passage Re-ranking with BERT", equation 1.
    """

    when: ClassVar[str] = "scores that are to be compared between questions, such as with a threshold"
    paper: ClassVar[str] = "Nogueira and Cho 2019, equation 1"

    positive_weight: float = Field(
        default=5.0, gt=0, description="what a right passage counts beside a wrong one: about the wrong ones a question"
    )

    def compare(self, scores: Tensor, batch: Lists) -> Tensor:
        """The mean over the batch's pairs."""
        weight = torch.tensor(self.positive_weight, device=scores.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(scores, batch.labels, pos_weight=weight)

    def weight(self, batch: Any) -> float:
        """Pairs."""
        return float(len(batch.labels))


PLUGIN = BinaryCrossEntropy
