"""A query that comes again costs no forward pass, and has the vector that it had."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, Role, load_encoder
from raglift.models.query_memory import QueryMemory
from tests.tasks import RUNTIME


class Counting(Encoder):
    """An encoder that tells what it was asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None) -> Any:
        self.asked += texts
        return super().encode(texts, role, advance)


@pytest.fixture
def encoder(tiny_embedding: Path) -> Counting:
    return Counting(load_encoder(tiny_embedding, RUNTIME), RUNTIME)


def test_a_query_is_encoded_once_and_a_passage_each_time(encoder: Counting) -> None:
    memory = QueryMemory(encoder)
    first = memory.encode(["when is low water", "who keeps the light", "when is low water"], "query")
    again = memory.encode(["who keeps the light", "when does it rain"], "query")
    assert encoder.asked == ["when is low water", "who keeps the light", "when does it rain"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[1], again[0])
    np.testing.assert_allclose(again, encoder.encode(["who keeps the light", "when does it rain"], "query"), atol=1e-6)
    del encoder.asked[:]
    for _ in range(2):
        memory.encode(["when is low water"], "passage")
    assert encoder.asked == ["when is low water"] * 2
    assert memory.encode([], "query").shape == (0, encoder.dimension)


def test_the_query_that_was_asked_longest_ago_is_forgotten_first(encoder: Counting) -> None:
    memory = QueryMemory(encoder, kept=2)
    for text in ("a", "b", "a", "c"):
        memory.encode([text], "query")
    del encoder.asked[:]
    for text in ("a", "c", "b"):
        memory.encode([text], "query")
    assert encoder.asked == ["b"]


def test_more_queries_at_once_than_are_kept_all_have_their_vectors(encoder: Counting) -> None:
    texts = [f"question {number}" for number in range(5)]
    found = QueryMemory(encoder, kept=2).encode(texts, "query")
    np.testing.assert_array_equal(found, encoder.encode(texts, "query"))


def test_threads_that_ask_at_once_get_their_own(encoder: Counting) -> None:
    memory = QueryMemory(encoder, kept=3)
    texts = [f"question {number % 5}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: memory.encode([text], "query")[0], texts))
    np.testing.assert_allclose(found, encoder.encode(texts, "query"), atol=1e-6)


def test_an_embedding_remembers_what_it_was_asked(encoder: Counting) -> None:
    embedding = LiftEmbedding(encoder, "tiny", Path("tiny"))
    assert embedding.get_query_embedding("when") == embedding.get_query_embedding("when")
    assert encoder.asked == ["when"]


def test_copies_remember_nothing_and_give_the_same_vectors(encoder: Counting) -> None:
    embedding = LiftEmbedding(encoder, "tiny", Path("tiny"))
    vector = embedding.get_query_embedding("when")
    for copied in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding)), embedding.model_copy(deep=True)):
        assert copied.get_query_embedding("when") == vector
        assert copied.get_query_embedding("where") != vector


def test_what_is_remembered_does_not_hold_its_whole_batch(encoder: Counting) -> None:
    memory = QueryMemory(encoder, kept=2)
    memory.encode([f"question {number}" for number in range(30)], "query")
    assert all(vector.base is None for vector in memory._known.values())
