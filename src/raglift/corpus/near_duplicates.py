"""Which texts hold each other: exact containment of word shingles.

Containment, not Jaccard similarity (Broder 1997, "On the resemblance and containment of documents"): a section that is
repeated inside a long document is a leak between splits although the two texts as wholes are unlike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy import sparse

SHINGLE = 5
_COMMON = 2000
"""A shingle in more texts than this is boilerplate and says nothing about any two of them."""
_BLOCK = 512


def _shingles(text: str, vocabulary: dict[tuple[str, ...], int]) -> list[int]:
    words = re.findall(r"\w+", text.lower())
    width = min(SHINGLE, len(words))
    runs = {tuple(words[i : i + width]) for i in range(len(words) - width + 1)} if words else set()
    return [vocabulary.setdefault(run, len(vocabulary)) for run in sorted(runs)]


def containing_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, where at least `threshold` of the smaller text's word 5-grams stand in the other."""
    vocabulary: dict[tuple[str, ...], int] = {}
    rows = [_shingles(text, vocabulary) for text in texts]
    sizes = np.array([len(row) for row in rows])
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.fromiter((column for row in rows for column in row), dtype=np.int64, count=int(indptr[-1]))
    matrix = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.int32), columns, indptr), shape=(len(texts), max(1, len(vocabulary)))
    )
    rare = np.asarray(matrix.sum(axis=0)).ravel() <= _COMMON
    matrix = matrix[:, np.flatnonzero(rare)]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(texts), _BLOCK):
        shared = (matrix[start : start + _BLOCK] @ matrix.T).tocoo()
        left, right = shared.row + start, shared.col
        smaller = np.minimum(sizes[left], sizes[right])
        keep = (left < right) & (shared.data >= threshold * smaller)
        pairs += zip(left[keep].tolist(), right[keep].tolist(), strict=True)
    return sorted(pairs)


def components(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The connected component of each of `count` items, named by its smallest member."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for left, right in pairs:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return [root(item) for item in range(count)]
