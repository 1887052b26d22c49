"""What the objectives of cross-encoders share: from a batch of lists to scores, and from scores to a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from raglift.records import Target
from raglift.training.lists import Lists, scores_of
from raglift.training.objective import Objective


class RerankObjective(Objective):
    """A loss over the scores of questions' passages; how they are computed is not its business."""

    target: ClassVar[Target] = "rerank"

    def compare(self, scores: Tensor, batch: Lists) -> Tensor:
        """The loss of a batch, given the scores of its pairs, (N,): a mean over what `weight` counts."""
        raise NotImplementedError

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch."""
        return lambda model, batch: self.compare(scores_of(model, batch), batch)
