"""In-batch negatives for the embedding model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from raglift.records import Target
from raglift.training.objective import Objective


class MultipleNegatives(Objective):
    """sentence-transformers' MultipleNegativesRankingLoss, both directions.

    Each query's own passage must score above every other passage of the batch, and each passage's own query above every
    other query (symmetric InfoNCE over cosines scaled by 20).

    References:
        Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section 4.4.
        van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4.

    Inputs:
        A batch is a list of columns; a column is what `SentenceTransformer.preprocess` returns for B texts: queries
        first, then positives, then any hard negatives.

    Example:
        >>> loss = MultipleNegatives().build(model)
        >>> loss(model, [model.preprocess(queries), model.preprocess(passages)]).backward()
    """

    target: ClassVar[Target] = "embedding"
    when: ClassVar[str] = "questions with one right passage each; the default for embedding models"
    paper: ClassVar[str] = "Henderson et al. 2017, section 4.4"

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch."""
        assert isinstance(model, SentenceTransformer)
        loss = MultipleNegativesRankingLoss(
            model, similarity_fct=_cosine, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        )

        def compute(_: nn.Module, batch: Any) -> Tensor:
            value: Tensor = loss(batch, None)
            return value

        return compute


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosines in float32 also under autocast: times 20, bfloat16's eight bits would move the logits by a tenth."""
    with torch.autocast(left.device.type, enabled=False):
        cosines: Tensor = cos_sim(left.float(), right.float())
    return cosines


PLUGIN = MultipleNegatives
