"""An inverted file of whole vectors."""

from __future__ import annotations

from typing import Any

from raglift.index.kinds._base import FAISS, INNER_PRODUCT, ApproximateKind, lists_of, probing, quick_clustering


class IvfFlat(ApproximateKind):
    """FAISS's `IndexIVFFlat`: the vectors in lists by their nearest centroid; a search looks into the nearest lists.

    References:
        Sivic and Zisserman 2003, "Video Google: A Text Retrieval Approach to Object Matching in Videos".
    """

    name = "ivf_flat"
    about = "Looks into the lists of the nearest centroids: quick to build and to ask, all vectors in memory."
    preference = 2
    efforts = (8, 16, 32, 64, 128, 256)
    least = 1000

    def bytes_each(self, dimension: int) -> float:
        return 4.0 * dimension + 8

    def create(self, count: int, dimension: int) -> Any:
        lists = FAISS.IndexFlatIP(dimension)
        return quick_clustering(FAISS.IndexIVFFlat(lists, dimension, lists_of(count), INNER_PRODUCT))

    def parameters(self, effort: int, candidates: int, selector: Any) -> Any:
        return probing(effort, selector)


PLUGIN = IvfFlat()
