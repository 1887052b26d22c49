"""BM25 and the base embedding model together, as a teacher that needs no further model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from raglift.training.pairs import Pair
from raglift.training.teachers._base import Classroom, Score, Teacher


class Hybrid(Teacher):
    """A convex mix of cosine and BM25, each put onto 0 to 1: its least possible value is 0, the corpus's best chunk 1.

    The mix is multiplied by `scale`, so that it is of the order of what it teaches, a cosine times 20.

    References:
        Bruch et al. 2023, "An Analysis of Fusion Functions for Hybrid Retrieval" (a convex combination after
        theoretical min-max normalisation).
    """

    when: ClassVar[str] = "no further model is at hand, and BM25 finds what the base misses"
    paper: ClassVar[str] = "Bruch et al. 2023"

    share: float = Field(default=0.8, ge=0, le=1, description="share of the base's cosine; the rest is BM25's")
    scale: float = Field(default=20.0, gt=0, description="what the mix in 0 to 1 is multiplied by")

    def begin(self, room: Classroom) -> Score:
        """Index the chunks for BM25."""
        base, row_of = room.base, {chunk_id: row for row, chunk_id in enumerate(room.ids)}

        def score(pairs: Sequence[Pair]) -> list[tuple[float, ...]]:
            vectors = base.encoder.encode([pair.query for pair in pairs], "query")
            best = np.maximum(
                base.store.search(vectors, 1)[1][:, 0], -0.99
            )  # the opposite of all there is: no division by 0
            texts = [[pair.passage, *pair.negatives] for pair in pairs]
            passages = base.encoder.encode([text for row in texts for text in row], "passage")
            found, start = [], 0
            for row, (pair, own) in enumerate(zip(pairs, texts, strict=True)):
                cosines = passages[start : start + len(own)] @ vectors[row]
                start += len(own)
                words = base.bm25.scores(pair.query)
                lexical = words[[row_of[chunk_id] for chunk_id in (pair.chunk_id, *pair.negative_ids)]]
                dense = (cosines + 1) / (best[row] + 1)
                sparse = lexical / (words.max() or 1.0)
                mixed = self.scale * (self.share * dense + (1 - self.share) * sparse)
                found.append(tuple(float(value) for value in mixed.astype(np.float64)))
            return found

        return score


PLUGIN = Hybrid
