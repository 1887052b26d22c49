"""Which texts hold each other: exact containment of word shingles.

Containment, not Jaccard similarity (Broder 1997, "On the resemblance and containment of documents"): a section that is
repeated inside a long document is a leak between splits although the two texts as wholes are unlike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import sparse

SHINGLE = 5
_COMMON = 2000
"""A shingle in more distinct texts than this is boilerplate and says nothing about any two of them."""
_BLOCK = 512


def _shingles(text: str, vocabulary: dict[tuple[str, ...], int]) -> tuple[int, ...]:
    words = re.findall(r"\w+", text.lower())
    width = min(SHINGLE, len(words))
    runs = {tuple(words[i : i + width]) for i in range(len(words) - width + 1)} if words else set()
    return tuple(vocabulary.setdefault(run, len(vocabulary)) for run in sorted(runs))


def containing_pairs(
    texts: Sequence[str], threshold: float, advance: Callable[[int], None] = lambda _: None
) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, where at least `threshold` of the smaller text's word 5-grams stand in the other.

    A text with the very 5-grams of an earlier one is paired with the first of these alone, and no other text with it:
    n copies make n - 1 pairs, enough to join them and what they contain into one component.

    Args:
        advance: Told how many more texts were compared.
    """
    first, pairs = _compare(texts, threshold, advance)
    return sorted(pairs + [(original, copy) for copy, original in enumerate(first) if original != copy])


def containing_sets(texts: Mapping[str, str], threshold: float) -> dict[str, set[str]]:
    """Name of a text -> names of all texts that hold `threshold` of it or of which it holds as much, copies included.

    A text without such another has no entry. Copies share one set, so that it takes no more room than the names in it;
    it holds them all.
    """
    names = list(texts)
    first, pairs = _compare(list(texts.values()), threshold, lambda _: None)
    copies: dict[int, list[str]] = {}
    for name, original in zip(names, first, strict=True):
        copies.setdefault(original, []).append(name)
    found = {original: set(same) for original, same in copies.items() if len(same) > 1}
    for left, right in pairs:
        found.setdefault(left, set()).update(copies[right])
        found.setdefault(right, set()).update(copies[left])
    return {name: found[original] for name, original in zip(names, first, strict=True) if original in found}


def _compare(
    texts: Sequence[str], threshold: float, advance: Callable[[int], None]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The first text with the same shingles as each text, and the pairs among these first ones."""
    vocabulary: dict[tuple[str, ...], int] = {}
    seen: dict[tuple[int, ...] | str, int] = {}
    first = [seen.setdefault(_shingles(text, vocabulary) or text, number) for number, text in enumerate(texts)]
    numbers = np.array(list(seen.values()), dtype=np.int64)
    rows = [row if isinstance(row, tuple) else () for row in seen]
    sizes = np.array([len(row) for row in rows], dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.fromiter((column for row in rows for column in row), dtype=np.int64, count=int(indptr[-1]))
    matrix = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.int32), columns, indptr), shape=(len(rows), max(1, len(vocabulary)))
    )
    rare = np.asarray(matrix.sum(axis=0)).ravel() <= _COMMON
    matrix = matrix[:, np.flatnonzero(rare)]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        shared = (matrix[start : start + _BLOCK] @ matrix.T).tocoo()
        left, right = shared.row + start, shared.col
        smaller = np.minimum(sizes[left], sizes[right])
        keep = (left < right) & (shared.data >= threshold * smaller)
        advance(min(_BLOCK, len(rows) - start))
        pairs += zip(numbers[left[keep]].tolist(), numbers[right[keep]].tolist(), strict=True)
    advance(len(texts) - len(rows))
    return first, pairs


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
