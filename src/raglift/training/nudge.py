"""NUDGE: the vectors of passages move toward the training questions that they answer, in closed form.

References:
    Zeighami, Wellmer and Parameswaran 2024, "NUDGE: Lightweight Non-Parametric Fine-Tuning of Embeddings for
    Retrieval". Its two constraints are NUDGE-M (a bounded magnitude) and NUDGE-N (bounded, and of unit length).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["M", "N"]
Array = NDArray[np.float32]
_TINY = 1e-6


def sums(queries: Array, answers: Sequence[Sequence[int]], count: int) -> Array:
    """What each passage is pulled by: the sum of the vectors of the questions that it answers, (count, dimension).

    Args:
        queries: Vectors of training questions, (questions, dimension).
        answers: Of each question, the rows of its passages.
        count: Passages.
    """
    found = np.zeros((count, queries.shape[1]), dtype=np.float32)
    for query, rows in zip(queries, answers, strict=True):
        found[list(dict.fromkeys(rows))] += query
    return found


def moved(kind: Kind, vectors: Array, pulls: Array, bound: float) -> Array:
    """The passages' vectors that make the training questions' similarities sum to the most, (count, dimension).

    NUDGE-M: maximise `sum_i <v_i + d_i, s_i>` with `|d_i| <= bound`, so `d_i = bound * s_i / |s_i|`; the vectors are no
    longer of unit length, and their inner product with a question is what ranks them.

    NUDGE-N: the same with `|v_i + d_i| = 1` and `|d_i|^2 <= bound`, so `v_i` turns toward `s_i` until it is there or
    its cosine with where it was is `1 - bound / 2`.

    A passage that answers no question stays bit for bit.

    Args:
        vectors: Of unit length, (count, dimension).
        pulls: What `sums` gives.
        bound: At least 0; for NUDGE-N less than 2.
    """
    found = vectors.copy()
    length = np.linalg.norm(pulls, axis=1)
    rows = np.flatnonzero(length > _TINY)
    if bound == 0 or not len(rows):
        return found
    start, goal = vectors[rows].astype(np.float64), pulls[rows] / length[rows, None].astype(np.float64)
    found[rows] = start + bound * goal if kind == "M" else _turned(start, goal, 1 - bound / 2)
    return found


def _turned(start: NDArray[np.float64], goal: NDArray[np.float64], cosine: float) -> NDArray[np.float64]:
    """Unit vectors nearest to `goal` whose cosine with `start` is at least `cosine`."""
    straight = (start * goal).sum(1, keepdims=True)
    across = goal - straight * start
    width = np.linalg.norm(across, axis=1, keepdims=True)
    turned = cosine * start + np.sqrt(1 - cosine**2) * across / np.maximum(width, _TINY)
    # A goal right behind has no nearest way there.
    return np.where(straight >= cosine, goal, np.where(width > _TINY, turned, start))


def best_magnitude(queries: Array, answers: Sequence[Sequence[int]], vectors: Array, pulls: Array) -> float:
    """NUDGE-M's bound that ranks a right passage first for the most development questions, the smallest of several.

    A question's similarities are linear in the bound, so that each right passage is first in one interval of bounds;
    the bound is where most intervals meet, which is at the beginning of one (the paper's algorithm for NUDGE-M).

    Args:
        queries: Vectors of development questions, (questions, dimension).
        answers: Of each question, the rows of its passages.
        vectors: Of the passages, (count, dimension).
        pulls: What `sums` gives.
    """
    ways = moved("M", np.zeros_like(vectors), pulls, 1.0)
    intervals = [
        interval
        for query, rows in zip(queries, answers, strict=True)
        for row in dict.fromkeys(rows)
        if (interval := _first_within(vectors @ query, ways @ query, row)) is not None
    ]
    return max(
        sorted({low for low, _ in intervals} | {0.0}),
        key=lambda bound: sum(low <= bound <= high for low, high in intervals),
    )


def _first_within(heights: Array, slopes: Array, row: int) -> tuple[float, float] | None:
    """The bounds at which line `row` lies above all others, or None."""
    above, steeper = heights.astype(np.float64) - heights[row], slopes.astype(np.float64) - slopes[row]
    if bool((above[steeper == 0] > 0).any()):
        return None
    rising, falling = steeper > 0, steeper < 0
    high = float(np.min(-above[rising] / steeper[rising], initial=np.inf))
    low = float(np.max(-above[falling] / steeper[falling], initial=0.0))
    return (low, high) if low <= high else None
