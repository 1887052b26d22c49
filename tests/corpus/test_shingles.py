from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.shingles import shingles

WORDS = st.sampled_from(["a", "B", "b.", "c-d", "\u00e9", "..."])
TEXTS = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=6)


def runs(text: str, width: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    wide = min(width, len(words))
    return [tuple(words[i : i + wide]) for i in range(len(words) - wide + 1)] if words else []


@given(texts=TEXTS, width=st.integers(1, 8))
def test_numbers_are_equal_where_the_words_are(texts: list[str], width: int) -> None:
    found = shingles(texts, width)
    assert len(found) == len(texts)
    expected = [runs(text, width) for text in texts]
    assert [len(found.of(i)) for i in range(len(texts))] == list(map(len, expected))
    pairs = {pair for i, own in enumerate(expected) for pair in zip(own, found.of(i).tolist(), strict=True)}
    assert len({run for run, _ in pairs}) == len(pairs) == len({number for _, number in pairs})


@given(texts=TEXTS, width=st.integers(1, 8), data=st.data())
def test_the_matrix_and_the_rows_hold_the_same(texts: list[str], width: int, data: st.DataObject) -> None:
    found = shingles(texts, width)
    matrix = found.matrix()
    assert matrix.shape == (len(texts), found.kinds)
    for row in range(len(texts)):
        assert matrix[row].indices.tolist() == sorted(set(found.of(row).tolist()))
    assert set(matrix.data.tolist()) <= {1}
    picked = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    some = found.rows(np.array(picked, dtype=np.int64))
    assert [some.of(i).tolist() for i in range(len(picked))] == [found.of(i).tolist() for i in picked]
