"""A reranker's order, mixed with that of the first stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raglift.index.fusions.convex import Convex
from raglift.index.ranking import Ranking
from raglift.models.reranker import Reranker


def mixed(first: Sequence[Ranking], reranked: Sequence[Ranking], share: float) -> list[Ranking]:
    """For each question the convex mix of two orders of the same passages, both brought into 0 to 1.

    Args:
        first: With scores of which more is better, in any order: nodes may have been put in another one since.
        share: Weight of the first stage's scores; the rest is the reranker's.
    """
    if not share:
        return list(reranked)
    convex = Convex(alpha=1 - share, normalisation="min_max")
    best_first = [tuple(sorted(ranking, key=lambda found: -found[1])) for ranking in first]
    return [convex.fuse(ours, theirs, len(theirs)) for theirs, ours in zip(best_first, reranked, strict=True)]


class MixedReranker(Reranker):
    """A reranker whose order counts for a part, and the first stage's scores for the rest.

    A reranker that only reads the question and the passage knows nothing of the words that they share, nor of how rare
    these are; where it errs, what found the passages often does not.

    Args:
        share: Weight of the first stage's scores, from 0 to 1.

    References:
        Wang, Zhuang and Zuccon 2021, "BERT-based Dense Retrievers Require Interpolation with BM25 for Effective Passage
        Retrieval"; the normalisation is that of `Convex`.
    """

    def __init__(self, reranker: Reranker, share: float) -> None:
        self.reranker, self.share = reranker, share

    def scores(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """The reranker's alone: pairs have no first stage."""
        return self.reranker.scores(pairs, advance)

    def rerank(
        self,
        asked: Sequence[tuple[str, Ranking]],
        text_of: Mapping[str, str],
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Ranking]:
        """See `Reranker`; the scores are those of the mix."""
        return mixed([ranking for _, ranking in asked], self.reranker.rerank(asked, text_of, advance), self.share)
