"""Maximal marginal relevance against LlamaIndex's function, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from raglift.errors import UserError
from raglift.index.store import FaissStore

WIDTH = 6


def store_of(vectors: np.ndarray) -> FaissStore:
    store = FaissStore(dimension=vectors.shape[1])
    store.add_vectors([TextNode(id_=str(row), text="t") for row in range(len(vectors))], vectors)
    return store


def asked(vector: np.ndarray, depth: int, threshold: float | None = None) -> VectorStoreQuery:
    return VectorStoreQuery(
        query_embedding=vector.tolist(),
        similarity_top_k=depth,
        mode=VectorStoreQueryMode.MMR,
        mmr_threshold=threshold,
    )


@given(st.integers(0, 10_000), st.integers(1, 15), st.integers(1, 12), st.none() | st.floats(0.05, 1))
def test_the_order_is_llama_indexs(seed: int, count: int, depth: int, threshold: float | None) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, WIDTH)).astype(np.float32)
    query = rng.normal(size=WIDTH).astype(np.float32)
    expected = get_top_k_mmr_embeddings(
        query.tolist(),
        vectors.tolist(),
        similarity_top_k=depth,
        embedding_ids=[str(row) for row in range(count)],
        mmr_threshold=threshold,
    )
    found = store_of(vectors).query(asked(query, depth), mmr_threshold=threshold, mmr_prefetch_k=count)
    assert found.ids == expected[1]
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    assert found.similarities == pytest.approx([cosines[int(name)] for name in found.ids or []], abs=1e-5)


def test_variety_before_nearness() -> None:
    vectors = np.array([[1, 0.1], [1, 0.11], [0.5, 1]], dtype=np.float32)
    store = store_of(vectors)
    query = np.array([1, 0.1], dtype=np.float32)
    assert store.query(asked(query, 2, 1.0)).ids == ["0", "1"]
    assert store.query(asked(query, 2, 0.3)).ids == ["0", "2"]
    assert store.query(asked(query, 2), mmr_threshold=0.3).ids == ["0", "2"]
    assert store.query(asked(query, 2, 0.3), mmr_prefetch_k=2).ids == ["0", "1"]
    assert store.query(asked(query, 2, 0.3), mmr_prefetch_factor=1).ids == ["0", "1"]
    assert store_of(np.zeros((0, 2), np.float32)).query(asked(query, 2)).ids == []


def test_a_threshold_that_is_no_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"mmr_threshold is 1\.5"):
        store_of(np.eye(2, dtype=np.float32)).query(asked(np.ones(2), 1, 1.5))
