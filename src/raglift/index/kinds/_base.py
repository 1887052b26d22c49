"""What a kind of index says about itself, and how it is made with FAISS."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

FAISS: Any = faiss
"""Its type stubs know only a part of it."""
INNER_PRODUCT: int = FAISS.METRIC_INNER_PRODUCT


class IndexKind(ABC):
    """A way to search vectors of unit length by inner product."""

    name: str
    about: str
    """One sentence: how it searches, what it is for."""
    preference: int
    """"auto" takes the kind of the lowest number that fits the memory, once exact search is too slow."""

    @abstractmethod
    def bytes_each(self, dimension: int) -> float:
        """Memory, in bytes a vector, that a search reads at random."""


class ApproximateKind(IndexKind):
    """An index that finds candidates; the store orders them by their exact similarities."""

    efforts: tuple[int, ...]
    """What a search may spend, rising; the first that reaches the wanted recall is kept."""
    least: int
    """Vectors that it takes to train it; a store with fewer is searched exactly."""

    @abstractmethod
    def create(self, count: int, dimension: int) -> Any:
        """An empty FAISS index, untrained, for about `count` vectors; its search must take an id selector."""

    @abstractmethod
    def parameters(self, effort: int, candidates: int, selector: Any) -> Any:
        """FAISS's search parameters.

        Args:
            effort: One of `efforts`.
            candidates: How many will be asked for.
            selector: A `faiss.IDSelector` of the positions that may be found, or None.
        """

    def candidates(self, depth: int, effort: int) -> int:
        """How many to ask for where `depth` are wanted."""
        return depth


def lists_of(count: int) -> int:
    """Inverted lists for `count` vectors: 4 sqrt(count), as FAISS's guidelines have it, of 39 vectors each at least."""
    return max(1, min(4 * math.isqrt(count), count // 39))


def quick_clustering(index: Any) -> Any:
    """Let k-means of an inverted file see at most 64 vectors a list: more cost minutes and change little."""
    index.cp.max_points_per_centroid = 64
    return index


def probing(effort: int, selector: Any) -> Any:
    """Search parameters of an inverted file that looks into `effort` lists."""
    return FAISS.SearchParametersIVF(nprobe=effort, sel=selector)


def selecting(selector: Any) -> Any:
    """Search parameters of an index that is gone through whole."""
    return FAISS.SearchParameters(sel=selector)


def selector_of(positions: NDArray[np.bool_]) -> Any:
    """FAISS's selector of the positions that are true, (count,)."""
    return FAISS.IDSelectorBitmap(np.packbits(positions, bitorder="little"))
