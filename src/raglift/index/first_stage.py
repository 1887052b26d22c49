"""The first stage of retrieval: what finds passages, before anything puts them in another order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from llama_index.core.vector_stores.types import MetadataFilters

from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search
from raglift.index.fusions._base import Fusion
from raglift.index.fusions.rrf import ReciprocalRank
from raglift.index.latency import stage
from raglift.index.ranking import Ranking, reciprocal_ranks


def asked(questions: Sequence[str]) -> list[tuple[Search, ...]]:
    """Questions that are searched for as they are."""
    return [(Search(question),) for question in questions]


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Dense retrieval, BM25, or the fusion of the two.

    Attributes:
        dense: None: words alone.
        bm25: Over the same passages; None: dense retrieval alone.
        depth: Ranks of each that are fused, or more where more passages are wanted.
        fusion: Of the two, where there are two.
    """

    dense: Dense | None
    bm25: Bm25 | None
    depth: int
    fusion: Fusion = field(default_factory=ReciprocalRank)

    def within(self, filters: MetadataFilters, ids: Collection[str]) -> FirstStage:
        """This stage, which finds only passages that the filters let through.

        Args:
            ids: Of those passages.
        """
        return replace(
            self,
            dense=None if self.dense is None else replace(self.dense, filters=filters),
            bm25=None if self.bm25 is None else self.bm25.among(ids),
        )

    def rankings(self, searches: Sequence[tuple[Search, ...]], depth: int) -> list[Ranking]:
        """The best `depth` passages of each question.

        Args:
            searches: Of each question; the rankings of several are fused by their ranks (Rackauckas 2024, RAG-Fusion).
        """
        flat = [search for group in searches for search in group]
        found = iter(self._each(flat, max(depth, self.depth)))
        grouped = [[next(found) for _ in group] for group in searches]
        fused = [group[0] if len(group) == 1 else reciprocal_ranks(group) for group in grouped]
        return [ranking[:depth] for ranking in fused]

    def _each(self, searches: Sequence[Search], depth: int) -> list[Ranking]:
        if self.bm25 is None:
            return [] if self.dense is None else self.dense.rankings(searches, depth)
        with stage("bm25"):
            sparse = self.bm25.rankings([search.words for search in searches], depth)
        if self.dense is None:
            return sparse
        dense = self.dense.rankings(searches, depth)
        with stage("fusing"):
            return [self.fusion.fuse(*pair, depth) for pair in zip(dense, sparse, strict=True)]
