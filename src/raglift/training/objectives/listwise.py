"""The teacher's distribution over a question's passages."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from raglift.training.distilled import Distilled, taught, teacher_scores
from raglift.training.embedding_objective import Compare


class Listwise(Distilled):
    """Kullback-Leibler divergence from the teacher's softmax over a question's passages to the model's, times T².

    It is sentence-transformers' DistillKLDivLoss, for questions with different numbers of hard negatives.

    References:
        Lin et al. 2021, "In-Batch Negatives for Knowledge Distillation with Tightly-Coupled Teachers for Dense
        Retrieval"; Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (T²).
    """

    when: ClassVar[str] = "several hard negatives a question; the order matters, not the teacher's scale"
    paper: ClassVar[str] = "Lin et al. 2021"
    version: ClassVar[int] = 2

    temperature: float = Field(default=1.0, gt=0, description="what both sides' scores are divided by")

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors: a mean over the batch's questions."""

        def compute(vectors: list[Tensor], batch: Any) -> Tensor:
            student, teacher, known = taught(vectors, batch, self.scale)
            hidden = torch.finfo(student.dtype).min
            found = torch.log_softmax((student / self.temperature).masked_fill(~known, hidden), dim=1)
            wanted = torch.log_softmax((teacher / self.temperature).masked_fill(~known, hidden), dim=1)
            divergence = (wanted.exp() * (wanted - found)).masked_fill(~known, 0.0)
            return divergence.sum(1).mean() * self.temperature**2

        return compute

    def weight(self, batch: Any) -> float:
        """The batch's questions, of which the loss is the mean."""
        return float(len(teacher_scores(batch)))


PLUGIN = Listwise
