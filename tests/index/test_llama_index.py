"""The store inside LlamaIndex: its indexes, storage contexts, ingestion pipelines and asynchronous calls."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageNode, IndexNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from raglift.errors import UserError
from raglift.index import FaissStore

WIDTH = 16


class Hashed(BaseEmbedding):
    """A direction of its own for every text."""

    def _get_text_embedding(self, text: str) -> list[float]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        vector: list[float] = np.random.default_rng(seed).normal(size=WIDTH).tolist()
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def documents(*texts: str) -> list[Document]:
    return [
        Document(text=text, doc_id=f"d{row}", metadata={"row": row}, excluded_embed_metadata_keys=["row"])
        for row, text in enumerate(texts)
    ]


def texts_of(store: FaissStore) -> list[str]:
    return sorted(node.get_content() for node in store.get_nodes())


def test_an_index_is_built_asked_changed_persisted_and_loaded(tmp_path: Path) -> None:
    storage = StorageContext.from_defaults(vector_store=FaissStore(dimension=WIDTH))
    index = VectorStoreIndex.from_documents(
        documents("low tide", "high tide", "kites"), storage_context=storage, embed_model=Hashed(), show_progress=False
    )
    hits = index.as_retriever(similarity_top_k=2).retrieve("kites")
    assert (hits[0].node.get_content(), hits[0].score) == ("kites", pytest.approx(1, abs=1e-5))
    index.insert(Document(text="lanterns", doc_id="new"))
    index.delete_ref_doc("d0")
    index.update_ref_doc(Document(text="low water", doc_id="d1"))
    storage.persist(str(tmp_path))

    store = FaissStore.from_persist_dir(str(tmp_path))
    assert texts_of(store) == ["kites", "lanterns", "low water"]
    loaded = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=store)
    again = load_index_from_storage(loaded, embed_model=Hashed())
    assert again.as_retriever(similarity_top_k=1).retrieve("lanterns")[0].node.get_content() == "lanterns"
    assert again.as_retriever(similarity_top_k=9, doc_ids=["d2"]).retrieve("lanterns")[0].node.ref_doc_id == "d2"
    assert texts_of(FaissStore.from_persist_path(str(tmp_path / "default__vector_store.json"))) == texts_of(store)


def test_an_index_answers_with_filters_and_mmr() -> None:
    index = VectorStoreIndex.from_documents(
        documents("low tide", "high tide", "kites", "oaks"),
        storage_context=StorageContext.from_defaults(vector_store=FaissStore(dimension=WIDTH)),
        embed_model=Hashed(),
    )
    first = MetadataFilter(key="row", value=0)
    late = MetadataFilter(key="row", value=2, operator=FilterOperator.GT)
    either = MetadataFilters(filters=[first, late], condition=FilterCondition.OR)
    none = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    for filters, expected in ((either, ["low tide", "oaks"]), (none, ["high tide", "kites"])):
        hits = index.as_retriever(similarity_top_k=9, filters=filters).retrieve("kites")
        assert sorted(hit.node.get_content() for hit in hits) == expected
    mmr = index.as_retriever(
        similarity_top_k=3, vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 1.0}
    )
    plain = index.as_retriever(similarity_top_k=3)
    assert [hit.node.node_id for hit in mmr.retrieve("kites")] == [hit.node.node_id for hit in plain.retrieve("kites")]
    found = asyncio.run(plain.aretrieve("kites"))
    assert [hit.node.node_id for hit in found] == [hit.node.node_id for hit in plain.retrieve("kites")]


@pytest.mark.parametrize("strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_ingestion_pipeline_upserts_and_deletes(strategy: DocstoreStrategy, asynchronous: bool) -> None:
    store = FaissStore(dimension=WIDTH)
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=32, chunk_overlap=0), Hashed()],
        docstore=SimpleDocumentStore(),
        vector_store=store,
        docstore_strategy=strategy,
    )

    def run(given: list[Document]) -> int:
        return len(asyncio.run(pipeline.arun(documents=given)) if asynchronous else pipeline.run(documents=given))

    assert run(documents("low tide", "high tide", "kites")) == 3
    assert run(documents("low tide", "high tide", "kites")) == 0, "nothing has changed"
    assert texts_of(store) == ["high tide", "kites", "low tide"]
    assert run(documents("low tide", "ebb and flow")) == 1
    gone = strategy == DocstoreStrategy.UPSERTS_AND_DELETE
    assert texts_of(store) == sorted(["low tide", "ebb and flow", *([] if gone else ["kites"])])


def nodes_with_embeddings() -> list[TextNode]:
    """As LlamaIndex's tests of vector stores have them."""
    made = []
    for name, document, vector, metadata in (
        ("a", "doc-0", [1.0, 0.0], {"author": "Stephen King", "theme": "Friendship", "pages": 100}),
        ("b", "doc-1", [0.0, 1.0], {"director": "Francis Ford Coppola", "theme": "Mafia"}),
        ("c", "doc-2", [1.0, 1.0], {"director": "Christopher Nolan"}),
    ):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
        made.append(TextNode(id_=name, text=name, embedding=vector, metadata=metadata, relationships=source))
    return made


def test_llama_indexs_own_patterns_synchronous_and_asynchronous() -> None:
    async def everything() -> None:
        store = FaissStore(dimension=2)
        assert await store.async_add(nodes_with_embeddings()) == ["a", "b", "c"]
        found = await store.aquery(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1))
        assert (found.ids, found.similarities) == (["a"], [1.0])
        mafia = MetadataFilters(filters=[MetadataFilter(key="theme", value="Mafia")])
        query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3, filters=mafia)
        assert (await store.aquery(query)).ids == ["b"]
        query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3, doc_ids=["doc-1", "doc-2"])
        assert (await store.aquery(query)).ids == ["c", "b"]
        query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3, node_ids=["b"])
        assert (await store.aquery(query)).ids == ["b"]
        assert [node.node_id for node in await store.aget_nodes(filters=mafia)] == ["b"]
        await store.adelete("doc-0")
        await store.adelete("doc-0")  # of what is gone
        await store.adelete_nodes(["nowhere"])
        assert [node.node_id for node in store.get_nodes()] == ["b", "c"]
        await store.adelete_nodes(filters=mafia)
        assert [node.node_id for node in store.get_nodes()] == ["c"]
        await store.aclear()
        assert store.get_nodes() == []
        found = await store.aquery(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1))
        assert (found.ids, found.nodes, found.similarities) == ([], [], [])
        assert store.add([]) == []

    asyncio.run(everything())


def test_deleting_without_a_condition_deletes_nothing() -> None:
    store = FaissStore(dimension=2)
    store.add(nodes_with_embeddings())
    store.delete_nodes()
    store.delete_nodes(filters=MetadataFilters(filters=[]))
    store.delete_nodes([])
    assert len(store) == 3


def test_nodes_of_every_class_come_back_as_they_were(tmp_path: Path) -> None:
    nodes = [
        TextNode(id_="text", text="t\u00e9xt \ud800", metadata={"tags": ["a", 1], "deep": {"er": None}}),
        ImageNode(id_="image", image="aGk=", text="an image"),
        IndexNode(id_="index", text="an index", index_id="other"),
        Document(id_="document", text="a document"),
    ]
    store = FaissStore(dimension=2)
    store.add_vectors(nodes, np.ones((4, 2), np.float32))
    store.persist(str(tmp_path))
    for opened in (store, FaissStore.open(tmp_path)):
        for node, again in zip(nodes, opened.get_nodes(), strict=True):
            assert type(again) is type(node)
            assert again == node
    FaissStore.open(tmp_path).persist(str(tmp_path / "again"))
    for name in ("nodes.jsonl", "rows.json"):
        one, two = ((folder / "v000001" / name).read_bytes() for folder in (tmp_path, tmp_path / "again"))
        assert one == two


def test_changing_a_node_that_was_given_away_changes_nothing_here() -> None:
    store = FaissStore(dimension=2)
    mine = nodes_with_embeddings()
    store.add(mine)
    mine[0].metadata["author"] = "another"
    found = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1)).nodes
    assert found is not None
    found[0].set_content("rewritten")  # as LlamaIndex's MetadataReplacementPostProcessor does
    found[0].metadata["theme"] = "none"
    again = store.get_nodes(["a"])[0]
    assert (again.get_content(), again.metadata["author"], again.metadata["theme"]) == (
        "a",
        "Stephen King",
        "Friendship",
    )
    assert mine[0].embedding == [1.0, 0.0]
    assert again.embedding is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_refused(bad: float) -> None:
    store = FaissStore(dimension=2)
    with pytest.raises(UserError, match="not a number"):
        store.add([TextNode(text="t", embedding=[1.0, bad])])
    with pytest.raises(UserError, match="not a number"):
        store.query(VectorStoreQuery(query_embedding=[1.0, bad], similarity_top_k=1))
    assert len(store) == 0


def test_a_remote_file_system_and_an_unknown_kind_are_refused() -> None:
    import fsspec

    store = FaissStore(dimension=2)
    with pytest.raises(UserError, match="local files"):
        store.persist("folder", fs=fsspec.filesystem("memory"))
    with pytest.raises(UserError, match="did you mean 'hnsw'") as raised:
        FaissStore(dimension=2, kind="hnws")
    assert "no index kind" in raised.value.what
