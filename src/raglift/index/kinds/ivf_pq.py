"""An inverted file of product-quantised vectors."""

from __future__ import annotations

from typing import Any

from raglift.index.kinds._base import FAISS, INNER_PRODUCT, ApproximateKind, lists_of, probing, quick_clustering

_ROUNDS = 10
"""Of k-means for the codes, where FAISS takes 25."""


class IvfPq(ApproximateKind):
    """FAISS's `IndexIVFPQ`: a byte for every four dimensions of what is left of a vector beside its centroid.

    References:
        Jegou, Douze and Schmid 2011, "Product Quantization for Nearest Neighbor Search".
    """

    name = "ivf_pq"
    about = "Looks into the lists of the nearest centroids, a byte for four dimensions: for millions of vectors."
    preference = 4
    efforts = (8, 16, 32, 64, 128, 256)
    least = 39 * 256  # FAISS asks for 39 vectors for each of the 256 centroids of a byte

    def bytes_each(self, dimension: int) -> float:
        return _bytes(dimension) + 8.0

    def create(self, count: int, dimension: int) -> Any:
        lists, coded = FAISS.IndexFlatIP(dimension), _bytes(dimension)
        index = quick_clustering(FAISS.IndexIVFPQ(lists, dimension, lists_of(count), coded, 8, INNER_PRODUCT))
        index.pq.cp.niter, index.pq.cp.max_points_per_centroid = _ROUNDS, 64  # candidates are rescored anyway
        return index

    def parameters(self, effort: int, candidates: int, selector: Any) -> Any:
        return probing(effort, selector)

    def candidates(self, depth: int, effort: int) -> int:
        return 10 * depth


def _bytes(dimension: int) -> int:
    """Bytes of a code: the most that divide the dimension into parts of four or more."""
    return next(parts for parts in range(max(1, dimension // 4), 0, -1) if dimension % parts == 0)


PLUGIN = IvfPq()
