"""An index that finds candidates: trained, filled, and its recall against exact search measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raglift.index.kinds._base import ApproximateKind

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]

DEPTH = 10
"""Recall is measured among this many."""
_QUERIES = 100
_BLOCK = 10_000
"""Vectors added between two reports."""
_SAMPLE = 262_144
"""Vectors that an index is trained on at most."""
_GATHERED = 64
"""Queries whose candidates are gathered at once, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, and how good it is.

    Attributes:
        kind: Of the index.
        count: Vectors that it was built from.
        effort: What a search spends, in the kind's own unit.
        recall: Share of the exact best ten that are found; None where it was not measured.
    """

    kind: str
    count: int
    effort: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class Approximation:
    """A filled FAISS index, its kind, and what was built."""

    kind: ApproximateKind
    index: Any
    built: Built

    def candidates(self, queries: Vectors, depth: int, selector: Any) -> Positions:
        """Positions that are likely among the `depth` nearest, of shape (queries, more or fewer); -1 for none."""
        wanted = min(self.kind.candidates(depth, self.built.effort), self.index.ntotal)
        parameters = self.kind.parameters(self.built.effort, wanted, selector)
        found: Positions = self.index.search(queries, wanted, params=parameters)[1]
        return found


def fill(kind: ApproximateKind, vectors: Vectors, seed: int, advance: Callable[[int], None]) -> Approximation:
    """Train and fill an index of this kind.

    The same vectors and seed give the same index: a graph is built by one thread, since several would link it in an
    order of chance.

    Args:
        vectors: (count, dimension), of unit length.
        advance: Told how many more were added.
    """
    count, dimension = vectors.shape
    index = kind.create(count, dimension)
    sample = vectors
    if count > _SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(count, _SAMPLE, replace=False))
        sample = vectors[chosen]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if isinstance(index, faiss.IndexHNSW) else threads)
    try:
        index.train(sample)
        for start in range(0, count, _BLOCK):
            block = vectors[start : start + _BLOCK]
            index.add(block)
            advance(len(block))
    finally:
        faiss.omp_set_num_threads(threads)
    return Approximation(kind, index, Built(kind.name, count, kind.efforts[0], None))


def tuned(
    filled: Approximation, vectors: Vectors, exact: Any, target: float, queries: Vectors | None, seed: int
) -> Approximation:
    """The approximation with the least effort whose recall at 10 is at least `target`, or with the most there is.

    Args:
        exact: FAISS's flat index over the same vectors.
        queries: Held-out queries of unit length, (queries, dimension); None: a hundred of the vectors, each of which
            must find its neighbours and not itself.
    """
    own: Positions | None = None
    if queries is None:
        size = min(_QUERIES, len(vectors))
        own = np.sort(np.random.default_rng(seed).choice(len(vectors), size, replace=False))
        queries = vectors[own]
    depth = min(DEPTH + (own is not None), len(vectors))
    right = exact.search(queries, depth)[1]
    for effort in filled.kind.efforts:
        tried = replace(filled, built=replace(filled.built, effort=effort))
        found, _ = rescored(vectors, queries, tried.candidates(queries, depth, None), depth)
        filled = replace(tried, built=replace(tried.built, recall=overlap(found, right, own)))
        if filled.built.recall is not None and filled.built.recall >= target:
            break
    return filled


def overlap(found: Positions, right: Positions, without: Positions | None = None) -> float:
    """Recall: the mean share of the right positions that were found.

    Args:
        found: (queries, any).
        right: (queries, depth).
        without: A position for each query that does not count: itself.
    """
    shares = []
    for line, (got, wanted) in enumerate(zip(found.tolist(), right.tolist(), strict=True)):
        itself = {-1} if without is None else {-1, int(without[line])}
        wanted_set = set(wanted) - itself
        if wanted_set:
            shares.append(len(wanted_set & set(got)) / len(wanted_set))
    return round(float(np.mean(shares)), 4) if shares else 1.0


def rescored(vectors: Vectors, queries: Vectors, candidates: Positions, depth: int) -> tuple[Positions, Vectors]:
    """The best `depth` of each query's candidates by their exact inner products, best first, the earlier of equals.

    Returns:
        Positions and products, of shape (queries, depth); -1 and -inf where there are no more candidates.
    """
    positions = np.full((len(queries), depth), -1, np.int64)
    scores = np.full((len(queries), depth), -np.inf, np.float32)
    for start in range(0, len(queries), _GATHERED):
        block = np.sort(candidates[start : start + _GATHERED], axis=1)
        asked = queries[start : start + _GATHERED]
        products = np.matmul(vectors[np.maximum(block, 0)], asked[:, :, None])[:, :, 0]
        products[block < 0] = -np.inf
        order = np.argsort(-products, axis=1, kind="stable")[:, :depth]
        width = order.shape[1]
        positions[start : start + len(asked), :width] = np.take_along_axis(block, order, axis=1)
        scores[start : start + len(asked), :width] = np.take_along_axis(products, order, axis=1)
    return positions, scores
