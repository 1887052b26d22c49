"""Inverse clozes: a sentence finds the rest of its passage, in train documents alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from raglift.records import Chunk
from raglift.synthesis.inverse_cloze import inverse_clozes, with_inverse_clozes
from raglift.training.pairs import Pair

FIRST = "The keeper of lighthouse {n} writes the name of every passing ship into a leather book."
SECOND = "Snow closes the narrow\nmountain pass number {n} from November until the middle of May."
SHORT = "It is so."


def corpus(*sentences: str) -> Any:
    texts = [" ".join(sentences or (FIRST, SECOND)).format(n=n) for n in range(12)]
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(texts)]
    return SimpleNamespace(chunks=chunks, split_of={f"d{n}": "train" if n < 8 else "test" for n in range(12)})


def test_sentence_and_rest_are_the_passage_and_share_nothing() -> None:
    texts = {chunk.id: " ".join(chunk.text.split()) for chunk in corpus().chunks}
    found = inverse_clozes(corpus(), 100, 0)
    assert sorted(pair.chunk_id for pair in found) == [f"c{n}" for n in range(8)]  # train alone, one a chunk
    for pair in found:
        assert {f"{pair.query} {pair.passage}", f"{pair.passage} {pair.query}"} & {texts[pair.chunk_id]}


def test_a_passage_of_which_too_little_is_left_gives_none() -> None:
    assert inverse_clozes(corpus(FIRST), 10, 0) == []
    assert inverse_clozes(corpus(FIRST, SHORT), 10, 0) == []


@given(written=st.integers(0, 8), share=st.floats(0, 0.6), seed=st.integers(0, 3))
def test_they_are_the_share_of_all_that_was_asked_for(written: int, share: float, seed: int) -> None:
    pairs = [Pair(f"q{n}", "p", f"c{n}") for n in range(written)]
    found = with_inverse_clozes(pairs, corpus(), share, seed)
    added = len(found) - written
    assert found[:written] == pairs
    assert added == min(8, round(written * share / (1 - share)))
    assert found == with_inverse_clozes(pairs, corpus(), share, seed)
