"""The teacher's margins between a right passage and its hard negatives."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from raglift.training.distilled import Distilled, taught, teacher_scores
from raglift.training.embedding_objective import Compare


class MarginMse(Distilled):
    """Mean squared error of margins: how far a question's passage scores above each hard negative, model and teacher.

    References:
        Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
        Distillation" (Margin-MSE).
    """

    when: ClassVar[str] = "hard negatives, and a teacher whose scores are of the order of `scale` times a cosine"
    paper: ClassVar[str] = "Hofstätter et al. 2020, Margin-MSE"
    version: ClassVar[int] = 2

    def compare(self, model: nn.Module) -> Compare:
        """The loss as a function of vectors: a mean over the batch's hard negatives."""

        def compute(vectors: list[Tensor], batch: Any) -> Tensor:
            student, teacher, known = taught(vectors, batch, self.scale)
            margins, wanted = student[:, :1] - student[:, 1:], teacher[:, :1] - teacher[:, 1:]
            errors = (margins - wanted)[known[:, 1:]]
            return errors.square().mean()

        return compute

    def weight(self, batch: Any) -> float:
        """The batch's hard negatives, of which the loss is the mean."""
        return float((~teacher_scores(batch)[:, 1:].isnan()).sum())


PLUGIN = MarginMse
