"""The word n-grams (shingles) of texts, as numbers: equal shingles have equal numbers, whatever text they stand in."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of some texts, in the order in which they stand there, repeats included.

    Attributes:
        numbers: One number a shingle, from 0 to `kinds - 1`, text after text.
        starts: `numbers[starts[i] : starts[i + 1]]` are those of text `i`.
        kinds: How many different ones there are.
    """

    numbers: Numbers
    starts: Numbers
    kinds: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, text: int) -> Numbers:
        """The shingles of one text, in order."""
        return self.numbers[self.starts[text] : self.starts[text + 1]]

    def rows(self, texts: Numbers) -> Shingles:
        """Those of some of the texts."""
        parts = [self.of(int(text)) for text in texts]
        lengths = np.array([0, *map(len, parts)], dtype=np.int64)
        return Shingles(np.concatenate([*parts, self.numbers[:0]]), np.cumsum(lengths), self.kinds)

    def matrix(self) -> sparse.csr_matrix:
        """Shape (texts, kinds): 1 where a text holds a shingle, once or more often."""
        found = sparse.csr_matrix(
            (np.ones(len(self.numbers), dtype=np.int32), self.numbers, self.starts), shape=(len(self), self.kinds)
        )
        found.sum_duplicates()
        found.data[:] = 1
        return found


def shingles(texts: Sequence[str], width: int) -> Shingles:
    """The runs of `width` words of each text, regardless of case and punctuation.

    A text with fewer words has one shingle, which holds all of them; a text without a word has none. Nothing is hashed,
    so that two different shingles never share a number.
    """
    vocabulary: dict[str, int] = {}
    words = array("q")
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        found = [vocabulary.setdefault(word, len(vocabulary) + 1) for word in re.findall(r"\w+", text.lower())]
        if found:
            found += [0] * (width - len(found))  # 0 is no word, so that no longer text has this shingle
        words.extend(found)
        lengths[row] = len(found)
    numbers = np.frombuffer(words, dtype=np.int64) if words else np.zeros(0, dtype=np.int64)
    ends = np.cumsum(lengths)
    starts = np.concatenate([[0], np.cumsum(np.maximum(lengths - width + 1, 0))])
    kept = np.ones(len(numbers), dtype=bool)
    for back in range(1, width):  # where too few words of the same text follow
        kept[(ends - back)[lengths > 0]] = False
    numbers = _runs(numbers, width)[kept[: len(numbers) - width + 1]] if len(numbers) else numbers
    return Shingles(numbers, starts, int(numbers.max()) + 1 if len(numbers) else 0)


def _runs(words: Numbers, width: int) -> Numbers:
    """A number for each run of `width`, made from the numbers of two shorter runs that cover it."""
    if width == 1:
        return _renumbered(words)
    half = (width + 1) // 2
    short = _runs(words, half)
    shift = width - half
    return _renumbered(short[: len(short) - shift] * (int(short.max()) + 1) + short[shift:])


def _renumbered(values: Numbers) -> Numbers:
    found: Numbers = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return found
