"""Which texts hold each other: containment of word shingles, compared exactly or found by sketches and then verified.

Containment, not Jaccard similarity (Broder 1997, "On the resemblance and containment of documents"): a section that is
repeated inside a long document is a leak between splits although the two texts as wholes are unlike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import sparse

from raglift.corpus import minhash
from raglift.corpus.shingles import Numbers, shingles

SHINGLE = 5
_COMMON = 2000
"""A shingle in more distinct texts than this is boilerplate and says nothing about any two of them."""
_BLOCK = 512
"""Texts multiplied with all others at once."""
_PAIRS = 65536
"""Candidates verified at once."""
_WORK = 2 * 10**9
"""Multiplications (the sum over shingles of the square of how many texts hold them) up to which all pairs are compared.
Measured on one thread they take 10 to 50 ns each, so a minute and a half at the most; with 3 * 10**9 of them sketches
take half the time, with 1.5 * 10**9 between half and twice (`scripts/bench/near_duplicates.py`)."""
_SKETCHED = 0.7
"""Below this containment sketches miss too much (1.3% of the pairs at 0.5), and all pairs are compared in any case."""
_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)


def _silent(_: int) -> None:
    return None


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
    found = shingles(texts, SHINGLE)
    matrix = found.matrix()
    seen: dict[bytes | str, int] = {}
    rows = zip(matrix.indptr, matrix.indptr[1:], texts, strict=False)
    first = [seen.setdefault(matrix.indices[a:b].tobytes() or text, n) for n, (a, b, text) in enumerate(rows)]
    numbers = np.array(list(seen.values()), dtype=np.int64)
    matrix = matrix[numbers]
    sizes = np.diff(matrix.indptr)
    often = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int64)
    rare = often <= _COMMON
    matrix = matrix[:, np.flatnonzero(rare)]
    advance(len(texts) - len(numbers))
    if threshold < _SKETCHED or (often[rare] ** 2).sum() <= _WORK:
        pairs = _product(matrix, np.arange(len(numbers)), sizes, threshold, advance)
    else:
        short = np.flatnonzero(sizes < minhash.SHORTEST)
        long = minhash.candidates(found.rows(numbers), rare, advance)
        found_pairs = [_product(matrix, short, sizes, threshold), _verified(matrix, long, sizes, threshold)]
        pairs = np.unique(np.concatenate(found_pairs), axis=0)
    return first, [(int(numbers[left]), int(numbers[right])) for left, right in pairs]


def _product(
    matrix: sparse.csr_matrix, rows: Numbers, sizes: Numbers, threshold: float, advance: Callable[[int], None] = _silent
) -> Numbers:
    """Every pair of which one is among `rows`, by multiplying these with all texts; shape (pairs, 2), smaller first."""
    across = matrix.T.tocsr()
    pairs = [_NO_PAIRS]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        shared = (matrix[block] @ across).tocoo()
        left, right = block[shared.row], shared.col.astype(np.int64)
        keep = (left != right) & (shared.data >= threshold * np.minimum(sizes[left], sizes[right]))
        pairs.append(np.sort(np.stack([left[keep], right[keep]], axis=1), axis=1))
        advance(len(block))
    return np.unique(np.concatenate(pairs), axis=0)


def _verified(matrix: sparse.csr_matrix, pairs: Numbers, sizes: Numbers, threshold: float) -> Numbers:
    """Those of `pairs` of which one holds `threshold` of the other."""
    kept = [_NO_PAIRS]
    for start in range(0, len(pairs), _PAIRS):
        left, right = pairs[start : start + _PAIRS].T
        shared = np.asarray(matrix[left].multiply(matrix[right]).sum(axis=1)).ravel()
        enough = (shared > 0) & (shared >= threshold * np.minimum(sizes[left], sizes[right]))
        kept.append(pairs[start : start + _PAIRS][enough])
    return np.concatenate(kept)


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
