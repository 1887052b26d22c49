"""The right passage against a question's own wrong ones."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from raglift.training.lists import Lists
from raglift.training.rerank_objective import RerankObjective


class LocalizedContrastive(RerankObjective):
    """Cross-entropy of the softmax over a question's passages, a mean over questions.

    Where several passages are right they are to share the probability evenly.

    References:
        Gao, Dai and Callan 2021, "Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline", equation 5.
    """

    when: ClassVar[str] = "hard negatives; only the order of a question's passages matters; the default for rerankers"
    paper: ClassVar[str] = "Gao et al. 2021, Localized Contrastive Estimation, equation 5"

    temperature: float = Field(default=1.0, gt=0, description="what scores are divided by")

    def compare(self, scores: Tensor, batch: Lists) -> Tensor:
        """The mean over the batch's questions."""
        hidden = torch.finfo(scores.dtype).min
        rows = (batch.table(scores) / self.temperature).masked_fill(~batch.known, hidden)
        right = batch.table(batch.labels)
        shares = right / right.sum(1, keepdim=True)
        return -(shares * torch.log_softmax(rows, dim=1)).sum(1).mean()

    def weight(self, batch: Any) -> float:
        """Questions."""
        return float(len(batch.known))


PLUGIN = LocalizedContrastive
