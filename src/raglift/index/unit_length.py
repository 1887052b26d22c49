"""Vectors as the store takes them: float32, finite, and of unit length however long or short they come."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raglift.errors import UserError

Vectors = NDArray[np.float32]

_SMALL, _LARGE = 1e-12, 1e12
"""Between these a largest component's square stays far from where float32 ends, which is near 1e-38 and 1e38."""
_ROUNDING = 1e-4
"""By which a unit vector of float32 may seem longer than 1."""


def finite(values: Any) -> Vectors:
    """The values as a float32 array of their own, in C order.

    Raises:
        UserError: They hold NaN, an infinity, or what is one in float32.
    """
    with np.errstate(over="ignore"):
        vectors = np.array(values, dtype=np.float32, order="C")
    if not np.isfinite(vectors).all():
        raise UserError(
            "A vector holds what is not a number.",
            "It would be near to nothing or to everything.",
            "Look for what the embedding model makes of an empty or very long text.",
        )
    return vectors


def to_unit_length(vectors: Vectors) -> None:
    """Divide each row, shape (rows, dimension), by its Euclidean norm in place; a row of zeros stays what it is."""
    if not vectors.size:
        return
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    extreme = (largest > 0) & ((largest < _SMALL) | (largest > _LARGE))
    vectors[extreme] /= largest[extreme, None]  # FAISS adds up squares in float32: they would be 0 or infinite
    faiss.normalize_L2(vectors)


def within_unit_length(vectors: Vectors) -> bool:
    """Whether no row is longer than 1, so that its inner product with a unit vector is one of [-1, 1]."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return bool(np.all(squares <= (1 + _ROUNDING) ** 2))
