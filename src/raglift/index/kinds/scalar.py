"""A byte a dimension."""

from __future__ import annotations

from typing import Any

from raglift.index.kinds._base import FAISS, INNER_PRODUCT, ApproximateKind, selecting


class Scalar(ApproximateKind):
    """FAISS's `IndexScalarQuantizer`: every dimension's range in 256 steps, all vectors compared."""

    name = "scalar"
    about = "Compares with every vector, a byte a dimension: a quarter of the memory, almost exact."
    preference = 3
    efforts = (2, 4, 8)
    least = 256

    def bytes_each(self, dimension: int) -> float:
        return float(dimension)

    def create(self, count: int, dimension: int) -> Any:
        return FAISS.IndexScalarQuantizer(dimension, FAISS.ScalarQuantizer.QT_8bit, INNER_PRODUCT)

    def parameters(self, effort: int, candidates: int, selector: Any) -> Any:
        return selecting(selector)

    def candidates(self, depth: int, effort: int) -> int:
        return effort * depth


PLUGIN = Scalar()
