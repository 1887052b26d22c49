"""What a fusion is: it makes one ranking of a dense one and BM25's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raglift.index.ranking import Ranking


class Fusion(BaseModel):
    """Makes one ranking of two. Fields are its parameters.

    Attributes:
        tried: Parameter -> the values among which the development questions choose where a config gives none; first the
            default, then from near to far: of what cannot be told apart the first is taken.
        paper: Where it comes from.
        version: Raised when the same rankings give another one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tried: ClassVar[Mapping[str, tuple[Any, ...]]]
    paper: ClassVar[str]
    version: ClassVar[int] = 1

    def fuse(self, dense: Ranking, sparse: Ranking, depth: int) -> Ranking:
        """Every chunk of either ranking, best first.

        Args:
            dense: By cosines, which lie in [-1, 1].
            sparse: By BM25, whose scores are above 0; without the chunks that share no word with the query.
            depth: How far down both were made: a ranking of this length goes on below it.
        """
        raise NotImplementedError
