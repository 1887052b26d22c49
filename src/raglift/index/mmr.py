"""Maximal marginal relevance: near to the query, and unlike what was taken just before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mmr_order(
    similarities: NDArray[np.float32], vectors: NDArray[np.float32], depth: int, threshold: float
) -> list[int]:
    """Which candidates to take, in order: each has the highest `threshold` times its similarity to the query less
    (1 - `threshold`) times its similarity to the one taken before it.

    That is LlamaIndex's `get_top_k_mmr_embeddings`, so that a retriever gives the same with this store. Carbonell and
    Goldstein compare with all that were taken.

    Args:
        similarities: Of the candidates to the query, (candidates,).
        vectors: Of the candidates, of unit length, (candidates, dimension).
        depth: How many to take at most.
        threshold: From 0, where only variety counts, to 1, where only the query does.

    References:
        Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
        Summaries".
    """
    left = np.ones(len(similarities), np.bool_)
    marginal = threshold * similarities
    taken: list[int] = []
    for _ in range(min(depth, len(similarities))):
        best = int(np.argmax(np.where(left, marginal, -np.inf)))
        taken.append(best)
        left[best] = False
        marginal = threshold * similarities - (1 - threshold) * (vectors @ vectors[best])
    return taken
