"""Rankings of a whole question set at once: dense, BM25, and their reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from raglift.index.store import FaissStore

Ranking = tuple[tuple[str, float], ...]
"""(chunk id, score), best first."""


def dense_rankings(store: FaissStore, vectors: NDArray[np.float32], depth: int) -> list[Ranking]:
    """The nearest chunks to each query vector, with cosines."""
    found, scores = store.search(vectors, depth)
    return [
        tuple((store.node_id(row), float(score)) for row, score in zip(rows, line, strict=True) if row >= 0)
        for rows, line in zip(found.tolist(), scores.tolist(), strict=True)
    ]


class Bm25:
    """Okapi BM25 (Lucene's variant, k1 1.5, b 0.75) over stemmed words, by bm25s.

    References:
        Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".
        Kamphuis et al. 2020, "Which BM25 Do You Mean?"
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._ids = list(ids)
        self._stemmer = Stemmer.Stemmer("english")
        self._model = bm25s.BM25()
        words = self._tokens(texts)
        self._wordless = not any(words)  # bm25s cannot index a corpus without a single word
        if not self._wordless:
            self._model.index(words, show_progress=False)

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        words = bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return list(words)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The score of every chunk, (chunks,), in the order of the ids; 0 where it shares no word with the query."""
        words = self._tokens([query])[0]
        if not words or self._wordless:
            return np.zeros(len(self._ids), dtype=np.float32)
        found: NDArray[np.float32] = self._model.get_scores(words)
        return found

    def rankings(self, queries: Sequence[str], depth: int) -> list[Ranking]:
        """The best chunks for each query; a chunk that shares no word with it is not in its ranking."""
        depth = min(depth, len(self._ids))
        found: list[Ranking] = []
        for words in self._tokens(queries):
            if not words or self._wordless:
                found.append(())
                continue
            scores = self._model.get_scores(words)
            best = np.argsort(-scores, kind="stable")[:depth]
            found.append(tuple((self._ids[row], float(scores[row])) for row in best if scores[row] > 0))
        return found


def fuse(rankings: Sequence[Ranking], depth: int, k: int = 60) -> Ranking:
    """Reciprocal rank fusion: a chunk's score is the sum over rankings of 1 / (k + its rank).

    References:
        Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
        Methods".
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, (chunk_id, _) in enumerate(ranking, 1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1.0 / (k + rank)
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return tuple(best[:depth])
