"""A batch for an embedding model: columns of texts, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from raglift.models.flattened import rows_of


class Columns(list[dict[str, Any]]):
    """A batch: columns of features, with what an objective may ask about them beside.

    Attributes:
        texts: The texts of each column, without prompts.
        owners: For each column of hard negatives, the row of every text's query.
        scores: A teacher's scores, (B, 1 + columns of hard negatives), NaN where a query has no such negative; None
            where no pair has any.
    """

    def __init__(
        self,
        features: Sequence[dict[str, Any]],
        texts: Sequence[Sequence[str]],
        owners: Sequence[Tensor],
        scores: Tensor | None,
    ) -> None:
        super().__init__(features)
        self.texts = texts
        self.owners = owners
        self.scores = scores


def owners(batch: Any) -> Sequence[Tensor]:
    """For each column of hard negatives the row of every text's query; a plain list's are in the queries' order.

    Raises:
        ValueError: A plain list has a column that is shorter than its queries.
    """
    if isinstance(batch, Columns):
        return batch.owners
    counts = [rows_of(column) for column in batch]
    if any(count != counts[0] for count in counts):
        raise ValueError("a batch with columns of unequal length must say whose hard negatives they hold: use Columns")
    return [torch.arange(counts[0], device=column["input_ids"].device) for column in batch[2:]]
