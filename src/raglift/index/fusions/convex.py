"""A convex mix of cosines and BM25's scores, each brought into 0 to 1 query by query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from raglift.index.fusions._base import Fusion
from raglift.index.ranking import Ranking, best_first

_LEAST_COSINE, _LEAST_BM25 = -1.0, 0.0


class Convex(Fusion):
    """alpha * cosine + (1 - alpha) * BM25, both normalised: (score - low) / (the query's highest score - low).

    `low` is the least score that there can be ("theoretical": -1 for a cosine, 0 for BM25), or the least that is known
    of the query ("min_max"). A chunk that only the other ranking holds is taken to score as this one's last: it scores
    no more than that, and the authors' own choice, to compute what it scores, needs an index that can. Where BM25's
    ranking ends before `depth`, what is not in it shares no word with the query and scores 0.

    References:
        Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval", section 4.
    """

    tried: ClassVar[Mapping[str, tuple[Any, ...]]] = {"alpha": (0.8, 0.7, 0.9, 0.6, 1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)}
    paper: ClassVar[str] = "Bruch et al. 2023"

    alpha: float = Field(default=0.8, ge=0, le=1, description="weight of the cosine; the rest is BM25's")
    normalisation: Literal["theoretical", "min_max"] = Field(
        default="theoretical", description="what counts as 0: the least possible score, or the query's least"
    )

    def fuse(self, dense: Ranking, sparse: Ranking, depth: int) -> Ranking:
        """Every chunk of either ranking, best first; of equal ones first the one that the dense ranking has higher."""
        last = sparse[-1][1] if len(sparse) >= depth else _LEAST_BM25
        cosines, no_cosine = self._normalised(dense, _LEAST_COSINE, dense[-1][1] if dense else _LEAST_COSINE)
        words, no_words = self._normalised(sparse, _LEAST_BM25, last)
        ids = dict.fromkeys(chunk_id for ranking in (dense, sparse) for chunk_id, _ in ranking)
        return best_first(
            {i: self.alpha * cosines.get(i, no_cosine) + (1 - self.alpha) * words.get(i, no_words) for i in ids}
        )

    def _normalised(self, ranking: Ranking, least: float, missing: float) -> tuple[dict[str, float], float]:
        """Chunk id -> score from 0 to 1, and that of every chunk that is not in the ranking."""
        low = least if self.normalisation == "theoretical" else missing
        span = (ranking[0][1] - low if ranking else 0.0) or 1.0  # all equal: nothing to tell them apart by
        return {chunk_id: (score - low) / span for chunk_id, score in ranking}, (missing - low) / span


PLUGIN = Convex
