"""The embedding model as LlamaIndex sees it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import Document, TextNode

from raglift.index.store import FaissStore
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, build_embedding


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> LiftEmbedding:
    folder = tmp_path_factory.mktemp("prompted") / "model"
    build_embedding(folder, prompts={"query": "question ", "document": "every "})
    return LiftEmbedding(Encoder(load_encoder(folder, RUNTIME), RUNTIME), "tiny@1", folder)


def test_it_gives_the_encoders_vectors(embedding: LiftEmbedding) -> None:
    queries = [question for question, _ in QUESTIONS]
    expected = embedding.encoder.encode(queries, "query")
    for query, vector in zip(queries, expected, strict=True):
        np.testing.assert_allclose(embedding.get_query_embedding(query), vector, atol=1e-5)
        np.testing.assert_allclose(asyncio.run(embedding.aget_query_embedding(query)), vector, atol=1e-5)
    passages = embedding.encoder.encode(SENTENCES, "passage")
    np.testing.assert_allclose(embedding.get_text_embedding_batch(list(SENTENCES)), passages, atol=1e-5)
    np.testing.assert_allclose(embedding.get_text_embedding(SENTENCES[3]), passages[3], atol=1e-5)
    found = asyncio.run(embedding.aget_text_embedding_batch(list(SENTENCES)))
    np.testing.assert_allclose(found, passages, atol=1e-5)


def test_a_query_and_a_passage_of_the_same_words_differ_by_their_prompts(embedding: LiftEmbedding) -> None:
    text = SENTENCES[0]
    assert not np.allclose(embedding.get_query_embedding(text), embedding.get_text_embedding(text), atol=1e-3)


def test_it_says_what_it_is(embedding: LiftEmbedding) -> None:
    assert isinstance(embedding, BaseEmbedding)
    assert embedding.class_name() == "LiftEmbedding"
    assert embedding.model_name == "tiny@1"
    assert (embedding.source / "model.safetensors").exists()
    assert all(isinstance(value, float) for value in embedding.get_text_embedding("snow"))


def test_an_index_over_the_store_finds_what_the_encoder_ranks_first(embedding: LiftEmbedding) -> None:
    store = FaissStore(dimension=32)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    index.insert_nodes([TextNode(id_=f"n{row}", text=text) for row, text in enumerate(SENTENCES)])
    queries = [question for question, _ in QUESTIONS]
    cosines = embedding.encoder.encode(queries, "query") @ embedding.encoder.encode(SENTENCES, "passage").T
    retriever = index.as_retriever(similarity_top_k=4)
    for query, line in zip(queries, cosines, strict=True):
        hits = retriever.retrieve(query)
        best = np.argsort(-line, kind="stable")[:4]
        assert [hit.node.node_id for hit in hits] == [f"n{row}" for row in best]
        assert [hit.score for hit in hits] == pytest.approx([line[row] for row in best], abs=1e-5)
        again = asyncio.run(retriever.aretrieve(query))
        assert [hit.node.node_id for hit in again] == [hit.node.node_id for hit in hits]


def test_documents_go_in_and_out_through_llama_index(embedding: LiftEmbedding) -> None:
    store = FaissStore(dimension=32)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    for row, text in enumerate(SENTENCES[:4]):
        index.insert(Document(text=text, doc_id=f"d{row}"))
    index.delete_ref_doc("d1")
    index.insert_nodes([])
    hits = index.as_retriever(similarity_top_k=10).retrieve(QUESTIONS[1][0])
    assert sorted(hit.node.ref_doc_id or "" for hit in hits) == ["d0", "d2", "d3"]
