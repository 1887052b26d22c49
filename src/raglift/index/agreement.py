"""How far a text's vectors agree with exact ones: their cosines, and which texts are found as the nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

NEAREST = 10
"""Neighbours of a text that are compared."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How vectors agree with exact ones.

    Attributes:
        mean_cosine: Of a text's two vectors, over all texts.
        least_cosine: Of the text whose two vectors agree least.
        neighbours: Share of the ten other texts nearest to a text's exact vector that are its nearest ten among the
            vectors too, over all texts: what a question, whose vector is exact, finds of them. It is 1 for at most
            eleven texts, all of which are each other's nearest.
    """

    mean_cosine: float
    least_cosine: float
    neighbours: float


def agreement(vectors: Vectors, exact: Vectors) -> Agreement:
    """How `vectors` agree with `exact`: both (texts, dimension), of unit length, a row for the same text in both."""
    cosines = (vectors * exact).sum(axis=1, dtype=np.float64)
    pairs = zip(_nearest(exact, vectors), _nearest(exact, exact), strict=True)
    shared = [len(set(found) & set(wanted)) / len(wanted) if len(wanted) else 1.0 for found, wanted in pairs]
    return Agreement(round(float(cosines.mean()), 6), round(float(cosines.min()), 6), round(float(np.mean(shared)), 6))


def _nearest(asked: Vectors, vectors: Vectors) -> NDArray[np.int64]:
    """Of each row asked the other rows with the largest inner products, shape (rows, min(NEAREST, rows - 1))."""
    products = asked @ vectors.T
    np.fill_diagonal(products, -np.inf)
    return np.argsort(-products, axis=1, kind="stable")[:, : min(NEAREST, len(vectors) - 1)]
