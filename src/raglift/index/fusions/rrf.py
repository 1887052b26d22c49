"""Reciprocal rank fusion: ranks alone count, so that scores of any scale go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from raglift.index.fusions._base import Fusion
from raglift.index.ranking import RRF_K, Ranking, reciprocal_ranks


class ReciprocalRank(Fusion):
    """A chunk's score is the sum over both rankings of 1 / (k + its rank).

    References:
        Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
        Methods".
    """

    tried: ClassVar[Mapping[str, tuple[Any, ...]]] = {"k": (60, 40, 100, 20, 10, 5)}
    paper: ClassVar[str] = "Cormack et al. 2009"

    k: int = Field(default=RRF_K, ge=0, description="the lower, the more the first ranks count")

    def fuse(self, dense: Ranking, sparse: Ranking, depth: int) -> Ranking:
        """Every chunk of either ranking, best first; of equal ones first the one that the dense ranking has higher."""
        return reciprocal_ranks((dense, sparse), self.k)


PLUGIN = ReciprocalRank
