"""Pairs of texts of which one may hold most of the other, by MinHash over pieces (Broder 1997; Leskovec et al. 2020).

MinHash tells how alike two sets are, and a section is not like the long text that it stands in. So texts are compared
piece by piece: overlapping windows of fixed size, one of which covers most of a section wherever it stands. Windows
that agree in a band of hash values (locality-sensitive hashing) make their texts a pair, to be checked exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from raglift.corpus.shingles import Numbers, Shingles

WINDOW = 64
"""Shingles of a piece."""
STRIDE = 16
"""Shingles between the beginnings of two pieces of a text."""
SHORTEST = 48
"""Texts with fewer shingles have too little in common with a whole window to be found reliably inside one."""
_ROWS, _BANDS = 3, 42
"""Two windows with Jaccard similarity s agree in a band with probability 1 - (1 - s^3)^42: 0.5% at 0.05, where texts
share a phrase, 93% at 0.4, 99.8% at 0.52, which 48 shingles have with a window that holds four fifths of them."""


def candidates(found: Shingles, kept: NDArray[np.bool_], advance: Callable[[int], None]) -> Numbers:
    """Pairs of texts that share a band, shape (pairs, 2), the smaller number first, sorted.

    Args:
        found: The texts' shingles.
        kept: Which kinds of shingle count; shape (kinds,).
        advance: Told how many more texts were sketched.
    """
    owners, signatures = _sketches(found, kept, advance)
    pairs = np.zeros(0, dtype=np.int64)
    for band in range(_BANDS):
        rows = signatures[:, band * _ROWS : (band + 1) * _ROWS].astype(np.uint64)
        keys = rows @ np.array([1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)
        pairs = _distinct(np.concatenate([pairs, _agreeing(keys, owners, len(found))]))
    return np.stack(np.divmod(pairs, max(1, len(found))), axis=1)


def _windows(numbers: Numbers) -> Iterator[Numbers]:
    """Pieces that cover everything; the last one ends with the text."""
    last = max(0, len(numbers) - WINDOW)
    for start in range(0, last, STRIDE):
        yield numbers[start : start + WINDOW]
    yield numbers[last:]


def _sketches(
    found: Shingles, kept: NDArray[np.bool_], advance: Callable[[int], None]
) -> tuple[Numbers, NDArray[np.uint32]]:
    """The text of every window, shape (windows,), and the window's hash values, shape (windows, rows * bands)."""
    owners: list[int] = []
    signatures = []
    empty = MinHash(num_perm=_ROWS * _BANDS, hashfunc=int)  # the shingles' numbers are mixed by MinHash itself
    for text in range(len(found)):
        numbers = found.of(text)
        numbers = numbers[kept[numbers]]
        if len(numbers):
            for window in _windows(numbers):
                sketch = empty.copy()
                sketch.update_batch(window.tolist())
                owners.append(text)
                signatures.append(sketch.hashvalues)
        advance(1)
    shape = (len(owners), _ROWS * _BANDS)
    return np.array(owners, dtype=np.int64), np.array(signatures, dtype=np.uint32).reshape(shape)


def _agreeing(keys: NDArray[np.uint64], owners: Numbers, count: int) -> Numbers:
    """Pairs of different owners of equal keys, each as `smaller * count + larger`, sorted."""
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], owners[order]
    agree = np.flatnonzero(keys[1:] == keys[:-1])
    pairs = []
    apart = 1
    while len(agree):
        left, right = owners[agree], owners[agree + apart]
        packed = np.minimum(left, right) * count + np.maximum(left, right)
        pairs.append(packed[left != right])
        apart += 1
        agree = agree[agree + apart < len(keys)]
        agree = agree[keys[agree] == keys[agree + apart]]
    return _distinct(np.concatenate([*pairs, owners[:0]]))


def _distinct(values: Numbers) -> Numbers:
    """Sorted, each once. `np.unique` hashes, which is a thousand times slower on numbers that are packed like these."""
    values = np.sort(values)
    return values[np.append(values[1:] != values[:-1], True)] if len(values) else values
