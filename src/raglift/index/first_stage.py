"""What finds the passages that a reranker puts in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raglift.index.ranking import Bm25, Ranking, dense_rankings, fuse
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Dense retrieval, or its reciprocal rank fusion with BM25.

    Attributes:
        encoder: Of the questions.
        store: The index of the passages.
        bm25: Over the same passages; None: dense retrieval alone.
        depth: Ranks of each that are fused.
        rrf_k: The constant of the fusion.
    """

    encoder: Encoder
    store: FaissStore
    bm25: Bm25 | None
    depth: int
    rrf_k: int

    def rankings(self, questions: Sequence[str], depth: int) -> list[Ranking]:
        """The best `depth` passages of each question."""
        vectors = self.encoder.encode(questions, "query")
        if self.bm25 is None:
            return dense_rankings(self.store, vectors, depth)
        dense = dense_rankings(self.store, vectors, self.depth)
        sparse = self.bm25.rankings(questions, self.depth)
        return [fuse(pair, depth, self.rrf_k) for pair in zip(dense, sparse, strict=True)]

    def by_cosine(self, questions: Sequence[str], rankings: Sequence[Ranking]) -> list[Ranking]:
        """The passages of each question's ranking by their cosines with it: ranks that are fused say little of them."""
        found: list[Ranking] = []
        for vector, ranking in zip(self.encoder.encode(questions, "query"), rankings, strict=True):
            ids = [chunk_id for chunk_id, _ in ranking]
            cosines = self.store.vectors(ids) @ vector if ids else np.zeros(0)
            found.append(tuple(sorted(zip(ids, cosines.tolist(), strict=True), key=lambda hit: -hit[1])))
        return found
