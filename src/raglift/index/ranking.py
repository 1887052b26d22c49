"""What a search gives: a ranking; and rankings of a whole question set by their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llama_index.core.vector_stores.types import MetadataFilters

    from raglift.index.store import FaissStore

Ranking = tuple[tuple[str, float], ...]
"""(chunk id, score), best first."""
RRF_K = 60
"""The constant of reciprocal rank fusion that Cormack et al. 2009 found to serve."""


def dense_rankings(
    store: FaissStore, vectors: NDArray[np.float32], depth: int, filters: MetadataFilters | None = None
) -> list[Ranking]:
    """The nearest chunks to each query vector, with cosines.

    Args:
        filters: Among the chunks alone whose metadata they let through.
    """
    found, scores = store.search(vectors, depth, None if filters is None else store.rows(filters))
    return [
        tuple((store.node_id(row), float(score)) for row, score in zip(rows, line, strict=True) if row >= 0)
        for rows, line in zip(found.tolist(), scores.tolist(), strict=True)
    ]


def best_first(scores: dict[str, float]) -> Ranking:
    """The chunks by their scores; equal ones stay in the order in which they were put in."""
    return tuple(sorted(scores.items(), key=lambda item: -item[1]))


def reciprocal_ranks(rankings: Sequence[Ranking], k: int = RRF_K) -> Ranking:
    """Reciprocal rank fusion: a chunk's score is the sum over rankings of 1 / (k + its rank).

    Of equal scores the one comes first that stands in an earlier ranking, and there higher.

    References:
        Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
        Methods".
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, (chunk_id, _) in enumerate(ranking, 1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1.0 / (k + rank)
    return best_first(scores)
