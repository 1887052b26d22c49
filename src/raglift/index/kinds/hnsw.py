"""A navigable small-world graph over vectors of a byte a dimension."""

from __future__ import annotations

from typing import Any

from raglift.index.kinds._base import FAISS, INNER_PRODUCT, ApproximateKind

_LINKS = 16
"""Neighbours of a vector in the graph's upper layers; twice as many in the lowest."""


class Hnsw(ApproximateKind):
    """FAISS's `IndexHNSWSQ`. A row cannot be taken out of the graph: it stays as a way to others and is never found.

    References:
        Malkov and Yashunin 2018, "Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical
        Navigable Small World Graphs".
    """

    name = "hnsw"
    about = "Walks a graph of neighbours: the quickest to ask and the slowest to build."
    preference = 1
    efforts = (64, 128, 256, 512)
    least = 256

    def bytes_each(self, dimension: int) -> float:
        return dimension + 4.0 * (2 * _LINKS + _LINKS / 16 + 2)

    def create(self, count: int, dimension: int) -> Any:
        return FAISS.IndexHNSWSQ(dimension, FAISS.ScalarQuantizer.QT_8bit, _LINKS, INNER_PRODUCT)

    def parameters(self, effort: int, candidates: int, selector: Any) -> Any:
        return FAISS.SearchParametersHNSW(efSearch=max(effort, candidates), sel=selector)

    def candidates(self, depth: int, effort: int) -> int:
        return 2 * depth


PLUGIN = Hnsw()
