"""Rankings against their formulas written out."""

from __future__ import annotations

import math
from collections import Counter

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import TextNode

from raglift.index.ranking import Bm25, dense_rankings, fuse
from raglift.index.store import FaissStore
from tests.tiny import QUESTIONS, SENTENCES

WORDS = ["lantern", "harbour", "tide", "ships", "shipping", "bakers", "baking", "gear", "the", "of", "snow"]
documents = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=12)


def tokens(text: str) -> list[str]:
    """Words by bm25s's own pattern, without its English stopwords, stemmed."""
    stemmer = Stemmer.Stemmer("english")
    return list(bm25s.tokenize([text], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)[0])


def lucene(texts: list[str], query: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """Kamphuis et al. 2020, table 1, Lucene (accurate)."""
    counted = [Counter(tokens(text)) for text in texts]
    average = sum(counter.total() for counter in counted) / len(texts)
    scores = [0.0] * len(texts)
    for word in tokens(query):
        matching = sum(word in counter for counter in counted)
        weight = math.log(1 + (len(texts) - matching + 0.5) / (matching + 0.5))
        for row, counter in enumerate(counted):
            if counter[word]:
                norm = k1 * (1 - b + b * counter.total() / average)
                scores[row] += weight * counter[word] / (counter[word] + norm)
    return scores


@given(documents, st.lists(st.sampled_from([*WORDS, "unseen"]), max_size=6).map(" ".join), st.integers(1, 15))
def test_bm25_is_lucenes_formula(texts: list[str], query: str, depth: int) -> None:
    ids = [f"d{row}" for row in range(len(texts))]
    ranking = Bm25(ids, texts).rankings([query], depth)[0]
    expected = lucene(texts, query)
    order = sorted((row for row, score in enumerate(expected) if score > 0), key=lambda row: -expected[row])[:depth]
    assert [score for _, score in ranking] == pytest.approx([expected[row] for row in order], rel=1e-4)
    for chunk_id, score in ranking:
        assert score == pytest.approx(expected[ids.index(chunk_id)], rel=1e-4)
    assert len({chunk_id for chunk_id, _ in ranking}) == len(ranking)


def test_bm25_finds_the_sentence_that_shares_the_words() -> None:
    ids = [f"s{row}" for row in range(len(SENTENCES))]
    rankings = Bm25(ids, SENTENCES).rankings([question for question, _ in QUESTIONS], 3)
    assert [ranking[0][0] for ranking in rankings] == ids[: len(QUESTIONS)]


@pytest.mark.parametrize("query", ["", "   ", "?!", "the of and", "zebra", "\U0001f600"])
def test_a_query_that_shares_no_word_finds_nothing(query: str) -> None:
    assert Bm25(["a", "b"], SENTENCES[:2]).rankings([query, "lighthouse"], 5)[0] == ()
    assert Bm25(["a", "b"], SENTENCES[:2]).rankings([query, "lighthouse"], 5)[1][0][0] == "a"


def test_equal_scores_keep_the_order_of_the_chunks() -> None:
    assert [name for name, _ in Bm25(["b", "a", "c"], ["snow", "snow", "snow"]).rankings(["snow"], 3)[0]] == list("bac")


@pytest.mark.parametrize("texts", [["the of and", "?"], [""]])
def test_chunks_without_words_do_no_harm(texts: list[str]) -> None:
    assert Bm25([str(row) for row in range(len(texts))], texts).rankings(["snow", "the"], 5) == [(), ()]


def test_fusion_by_hand() -> None:
    dense = (("a", 0.9), ("b", 0.8), ("c", 0.7))
    sparse = (("c", 12.0), ("d", 3.0))
    fused = fuse([dense, sparse], depth=3, k=60)
    assert [name for name, _ in fused] == ["c", "a", "b"]  # b and d tie at rank 2: the id decides
    assert [score for _, score in fused] == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62])
    assert [name for name, _ in fuse([dense, sparse], depth=10, k=60)] == ["c", "a", "b", "d"]
    assert [name for name, _ in fuse([dense, sparse], depth=2, k=0)] == ["c", "a"]
    assert fuse([(), ()], 5) == ()


def test_dense_rankings_are_cosines_best_first() -> None:
    vectors = np.array([[1, 0], [0, 2], [3, 3]], dtype=np.float32)
    store = FaissStore(dimension=2)
    store.add_vectors([TextNode(id_=name, text=name) for name in "abc"], vectors)
    found = dense_rankings(store, np.array([[5, 0], [0, -1]], dtype=np.float32), 2)
    assert [name for name, _ in found[0]] == ["a", "c"]
    assert [score for _, score in found[0]] == pytest.approx([1, 0.5**0.5])
    assert [name for name, _ in found[1]] == ["a", "c"]
    assert [score for _, score in found[1]] == pytest.approx([0, -(0.5**0.5)])
    assert dense_rankings(FaissStore(dimension=2), vectors, 3) == [(), (), ()]
