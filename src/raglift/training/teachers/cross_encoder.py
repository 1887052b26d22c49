"""A cross-encoder as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from sentence_transformers import CrossEncoder

from raglift.errors import UserError
from raglift.models.find import find_model
from raglift.training.pairs import Pair
from raglift.training.teachers._base import Classroom, Score, Teacher


class CrossEncoderTeacher(Teacher):
    """The logit that a cross-encoder gives a question and a passage, read together.

    References:
        Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
        Distillation".
    """

    when: ClassVar[str] = "a cross-encoder that ranks well is at hand"
    paper: ClassVar[str] = "Hofstätter et al. 2020"

    model: str = Field(min_length=1, description="the cross-encoder: a folder or a Hugging Face id")
    batch_size: int = Field(default=32, ge=1, description="pairs of texts at once")

    def depends(self) -> list[Any]:
        """The cross-encoder's weights."""
        return [find_model(self.model).revision]

    def begin(self, room: Classroom) -> Score:
        """Load the cross-encoder in float32."""
        encoder = CrossEncoder(
            str(find_model(self.model).path),
            device=str(room.runtime.device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        if encoder.num_labels != 1:
            raise UserError(
                f"{self.model!r} cannot teach.",
                f"It gives {encoder.num_labels} numbers for a question and a passage; a reranker gives one.",
                "Name a cross-encoder for reranking.",
            )

        def score(pairs: Sequence[Pair]) -> list[tuple[float, ...]]:
            asked = [(pair.query, text) for pair in pairs for text in (pair.passage, *pair.negatives)]
            logits = encoder.predict(
                asked, batch_size=self.batch_size, show_progress_bar=False, activation_fn=torch.nn.Identity()
            ).tolist()
            found = iter(logits)
            return [tuple(next(found) for _ in range(1 + len(pair.negatives))) for pair in pairs]

        return score


PLUGIN = CrossEncoderTeacher
