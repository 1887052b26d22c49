"""In-batch negatives among more passages than memory holds at once."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raglift.training.objectives.multiple_negatives import MultipleNegatives


class CachedMultipleNegatives(MultipleNegatives):
    """`multiple_negatives` with GradCache: the same loss and gradients, in the memory of a mini-batch.

    Accumulated batches keep each its own negatives; a batch of `embedding.batch_size` questions under this objective
    has all of them. Every text is embedded twice, once of it without gradients.

    References:
        Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    """

    when: ClassVar[str] = "batches of hundreds or thousands of questions, which memory does not hold at once"
    paper: ClassVar[str] = "Gao et al. 2021"

    mini_batch_size: int = Field(
        default=32, ge=1, description="texts that are in memory with their activations at once"
    )

    def chunk(self) -> int | None:
        """Texts that go through the model at once."""
        return self.mini_batch_size


PLUGIN = CachedMultipleNegatives
