"""What the two objectives share that learn a teacher's scores of a question's passages."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from raglift.config_check import check_plugin
from raglift.config_fields import PluginSpec, Spec, wrong
from raglift.models.find import FoundModel
from raglift.plugins import load
from raglift.training.columns import owners
from raglift.training.embedding_objective import EmbeddingObjective


class Distilled(EmbeddingObjective):
    """Learns how a teacher scores a question's own passage and its hard negatives."""

    in_batch: ClassVar[bool] = False

    teacher: Spec = Field(default=PluginSpec(name="hybrid"), description="who scores the passages; see Teachers")
    scale: float = Field(default=20.0, gt=0, description="what the model's cosines are multiplied by")

    @field_validator("teacher")
    @classmethod
    def _teaches(cls, spec: PluginSpec) -> PluginSpec:
        for _, message in check_plugin("teacher", spec):
            raise wrong(message)
        return spec

    def check(self, base: FoundModel) -> None:
        """Whether the teacher's model is there."""
        load("teacher", self.teacher.name)(**self.teacher.settings).depends()

    def needs_teacher(self) -> PluginSpec | None:
        """The teacher whose scores it learns."""
        return self.teacher


def teacher_scores(batch: Any) -> Tensor:
    """The teacher's scores, (B, 1 + columns of hard negatives), NaN where a question has no such negative.

    Raises:
        ValueError: The batch carries none.
    """
    if getattr(batch, "scores", None) is None:
        raise ValueError("the batch carries no teacher's scores")
    scores: Tensor = batch.scores
    return scores


def taught(vectors: list[Tensor], batch: Any, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The student's scores of each question's passage and hard negatives, the teacher's, and where there are any.

    Returns:
        Three of shape (B, 1 + columns of hard negatives); the first in float32 whatever the autocast.

    Raises:
        ValueError: The batch carries no teacher's scores.
    """
    teacher = teacher_scores(batch)
    with torch.autocast(teacher.device.type, enabled=False):
        units = [torch.nn.functional.normalize(found.float(), dim=1) for found in vectors]
        everyone = torch.arange(len(teacher), device=teacher.device)
        places = (everyone, *owners(batch))
        scores = [
            (rows, scale * (units[0][rows] * found).sum(1)) for rows, found in zip(places, units[1:], strict=True)
        ]
        student = torch.stack([teacher.new_zeros(len(teacher)).index_copy(0, *each) for each in scores], dim=1)
    return student, teacher, ~teacher.isnan()
