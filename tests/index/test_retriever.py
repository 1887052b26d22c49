"""One retriever for all of it: over a run's parts or over an index of somebody else's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search, by_cosine
from raglift.index.encoding import node
from raglift.index.first_stage import FirstStage, asked
from raglift.index.fusions.convex import Convex
from raglift.index.fusions.rrf import ReciprocalRank
from raglift.index.ranking import Ranking, dense_rankings, reciprocal_ranks
from raglift.index.retriever import LiftRetriever
from raglift.index.store import FaissStore
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from raglift.records import Chunk
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, build_embedding

CHUNKS = [
    Chunk(f"c{row}", f"d{row}", text, 0, len(text), {"source": f"{row}.txt"}) for row, text in enumerate(SENTENCES)
]
NODES: dict[str, BaseNode] = {chunk.id: node(chunk) for chunk in CHUNKS}
BM25 = Bm25(list(NODES), SENTENCES)
ASKED = [question for question, _ in QUESTIONS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose queries and passages have prompts of their own."""
    return build_embedding(tmp_path_factory.mktemp("model"), prompts={"query": "where is ", "document": "the tide "})


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(load_encoder(folder, RUNTIME), RUNTIME)


@pytest.fixture(scope="module")
def store(encoder: Encoder) -> FaissStore:
    store = FaissStore(dimension=32)
    store.add_vectors(list(NODES.values()), encoder.encode(SENTENCES, "passage"))
    return store


@pytest.fixture(scope="module")
def index(store: FaissStore, encoder: Encoder, folder: Path) -> VectorStoreIndex:
    return VectorStoreIndex.from_vector_store(store, embed_model=LiftEmbedding(encoder, "tiny", folder))


def found(hits: Sequence[NodeWithScore]) -> list[tuple[str, float | None]]:
    return [(hit.node.node_id, hit.score) for hit in hits]


@pytest.mark.parametrize("fusion", [ReciprocalRank(), Convex(alpha=0.6)])
def test_it_ranks_as_its_parts_do(encoder: Encoder, store: FaissStore, fusion: Any) -> None:
    dense = Dense.of_store(encoder, store)
    vectors = dense_rankings(store, encoder.encode(ASKED, "query"), 6)
    words = BM25.rankings(ASKED, 6)
    expected: dict[str, list[Ranking]] = {
        "dense": vectors,
        "bm25": words,
        "hybrid": [fusion.fuse(*pair, 6) for pair in zip(vectors, words, strict=True)],
    }
    for name, first in (
        ("dense", FirstStage(dense, None, 6)),
        ("bm25", FirstStage(None, BM25, 6)),
        ("hybrid", FirstStage(dense, BM25, 6, fusion)),
    ):
        retriever = LiftRetriever(first, NODES, 4)
        batch = retriever.retrieve_batch(ASKED)
        for question, ranking, hits in zip(ASKED, expected[name], batch, strict=True):
            assert [hit.node.node_id for hit in hits] == [chunk_id for chunk_id, _ in ranking[:4]]
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in ranking[:4]], abs=1e-5)
            alone = retriever.retrieve(question)
            assert [hit.node.node_id for hit in alone] == [hit.node.node_id for hit in hits]
            assert found(asyncio.run(retriever.aretrieve(question))) == found(alone)
    assert LiftRetriever(FirstStage(None, BM25, 6), NODES, 4).retrieve("the of") == []
    shallow = LiftRetriever(FirstStage(dense, BM25, 2, fusion), NODES, 9)
    assert len(shallow.retrieve(ASKED[0])) == 9, "who asks for more than is fused gets it"


def test_an_index_of_a_users_own_is_as_good_as_a_runs(index: VectorStoreIndex, encoder: Encoder) -> None:
    own = LiftRetriever.from_index(index, top_k=4, fusion=Convex())
    store = index.vector_store
    assert isinstance(store, FaissStore)
    run = LiftRetriever(FirstStage(Dense.of_store(encoder, store), BM25, 100, Convex()), NODES, 4)
    assert [found(hits) for hits in own.retrieve_batch(ASKED)] == [found(hits) for hits in run.retrieve_batch(ASKED)]


def test_an_index_over_llama_indexs_own_store_ranks_alike(index: VectorStoreIndex, encoder: Encoder) -> None:
    plain = VectorStoreIndex(nodes=list(NODES.values()), embed_model=index._embed_model)
    ours, theirs = (LiftRetriever.from_index(each, 5, fusion="convex") for each in (index, plain))
    for one, other in zip(ours.retrieve_batch(ASKED), theirs.retrieve_batch(ASKED), strict=True):
        assert [hit.node.node_id for hit in one] == [hit.node.node_id for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-5)


def test_prompts_are_those_of_the_models_roles(index: VectorStoreIndex, encoder: Encoder) -> None:
    dense = Dense.of_index(index)
    (query, passage, both) = dense.vectors(
        [Search("low water"), Search("low water", ("snow",)), Search("low water", ("snow",), ("gear", "tide"))]
    )
    as_query = encoder.encode(["low water", "snow"], "query")
    as_passage = encoder.encode(["gear", "tide"], "passage")
    assert query == pytest.approx(as_query[0], abs=1e-6)
    assert passage == pytest.approx(as_query[1], abs=1e-6)
    mean = (as_query[1] + as_passage.sum(axis=0)) / 3
    assert both == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert as_query[1] != pytest.approx(encoder.encode(["snow"], "passage")[0], abs=1e-3)


def test_a_question_may_bring_its_own_texts_or_vector(index: VectorStoreIndex, encoder: Encoder) -> None:
    """As LlamaIndex's own transforms and caches hand them over."""
    retriever = LiftRetriever(FirstStage(Dense.of_index(index), None, 10), NODES, 3)
    vector = encoder.encode([ASKED[1]], "query")[0]
    expected = [hit.node.node_id for hit in retriever.retrieve(ASKED[1])]
    assert [h.node.node_id for h in retriever.retrieve(QueryBundle("snow", embedding=vector.tolist()))] == expected
    given = QueryBundle("snow", custom_embedding_strs=[ASKED[1]])
    assert [hit.node.node_id for hit in retriever.retrieve(given)] == expected
    assert expected != [hit.node.node_id for hit in retriever.retrieve("snow")]


def test_several_searches_of_a_question_are_fused_by_rank(encoder: Encoder, store: FaissStore) -> None:
    first = FirstStage(Dense.of_store(encoder, store), BM25, 10, Convex())
    one, two, three = (first.rankings(asked([question]), 10)[0] for question in ASKED[:3])
    both = first.rankings([(Search(ASKED[0]), Search(ASKED[1])), (Search(ASKED[2]),)], 4)
    for ranking, expected in zip(both, [reciprocal_ranks([one, two])[:4], three[:4]], strict=True):
        assert [chunk_id for chunk_id, _ in ranking] == [chunk_id for chunk_id, _ in expected]
        assert [score for _, score in ranking] == pytest.approx([score for _, score in expected], abs=1e-5)
    assert first.rankings([], 4) == []


class Backwards(BaseNodePostprocessor):
    """Turns the order around."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        assert query_bundle is not None
        return nodes[::-1]


def test_a_reranker_sees_as_many_as_it_shall_and_the_best_are_kept(index: VectorStoreIndex) -> None:
    plain = LiftRetriever.from_index(index, top_k=6)
    first = [hit.node.node_id for hit in plain.retrieve(ASKED[0])]
    reranked = LiftRetriever.from_index(index, top_k=2).with_reranker(Backwards(), depth=6)
    assert [hit.node.node_id for hit in reranked.retrieve(ASKED[0])] == first[:-3:-1]
    assert [hit.node.node_id for hit in plain.retrieve(ASKED[0])] == first, "the other one is as it was"
    none = plain.with_reranker(SimilarityPostprocessor(similarity_cutoff=2.0))
    assert none.retrieve(ASKED[0]) == []


def test_it_serves_in_a_query_engine(index: VectorStoreIndex) -> None:
    from llama_index.core.llms import MockLLM

    engine = RetrieverQueryEngine.from_args(LiftRetriever.from_index(index, top_k=2), llm=MockLLM())
    assert len(engine.query(ASKED[0]).source_nodes) == 2


def test_what_it_cannot_work_with_is_said(index: VectorStoreIndex) -> None:
    with pytest.raises(UserError, match="top_k is 0"):
        LiftRetriever.from_index(index, top_k=0)
    with pytest.raises(UserError, match="There is no fusion called 'convexx'"):
        LiftRetriever.from_index(index, fusion="convexx")
    empty = VectorStoreIndex.from_vector_store(FaissStore(dimension=8), embed_model=MockEmbedding(8))
    with pytest.raises(UserError, match="holds no nodes"):
        LiftRetriever.from_index(empty)
    grown = VectorStoreIndex(nodes=list(NODES.values()), embed_model=MockEmbedding(8))
    retriever = LiftRetriever.from_index(grown, top_k=20)
    grown.insert_nodes([TextNode(id_="new", text="A new sentence.")])
    with pytest.raises(UserError, match="the node 'new', which the retriever does not hold"):
        retriever.retrieve("snow")
    assert len(LiftRetriever.from_index(grown, top_k=20).retrieve("snow")) == 11


def test_what_the_index_does_not_hold_is_not_found() -> None:
    """LlamaIndex leaves what was deleted, and the parents of nodes, in the docstore."""
    documents = [Document(id_=f"d{row}", text=text) for row, text in enumerate(SENTENCES)]
    for index in (
        VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(8)),
        VectorStoreIndex.from_documents(
            documents,
            embed_model=MockEmbedding(8),
            storage_context=StorageContext.from_defaults(vector_store=FaissStore(dimension=8)),
        ),
    ):
        index.delete_ref_doc("d1")
        index.docstore.add_documents([TextNode(id_="parent", text=" ".join(SENTENCES))])
        hits = LiftRetriever.from_index(index, top_k=20).retrieve(SENTENCES[1])
        texts = {hit.node.get_content() for hit in hits}
        assert texts == {text for text in SENTENCES if text != SENTENCES[1]}


def test_a_store_that_does_not_give_its_nodes_back_needs_them(index: VectorStoreIndex) -> None:
    class Closed(FaissStore):
        def get_nodes(self, *args: Any, **kwargs: Any) -> list[BaseNode]:
            raise NotImplementedError("get_nodes not implemented")

    closed = Closed(dimension=8)
    storage = StorageContext.from_defaults(vector_store=closed)
    built = VectorStoreIndex(nodes=list(NODES.values()), storage_context=storage, embed_model=MockEmbedding(8))
    with pytest.raises(UserError, match="does not give its nodes back") as caught:
        LiftRetriever.from_index(built)
    assert "nodes=nodes" in caught.value.fix
    assert LiftRetriever.from_index(built, nodes=list(NODES.values())).retrieve(ASKED[0])


def test_rankings_by_cosine(encoder: Encoder, store: FaissStore) -> None:
    dense = Dense.of_store(encoder, store)
    ranked = FirstStage(dense, BM25, 6).rankings(asked(ASKED), 4)
    passages = encoder.encode(SENTENCES, "passage")
    for question, ranking, ordered in zip(ASKED, ranked, by_cosine(dense, store, ASKED, ranked), strict=True):
        assert {chunk_id for chunk_id, _ in ordered} == {chunk_id for chunk_id, _ in ranking}
        assert [score for _, score in ordered] == sorted((score for _, score in ordered), reverse=True)
        vector = encoder.encode([question], "query")[0]
        for chunk_id, score in ordered:
            assert score == pytest.approx(float(vector @ passages[int(chunk_id[1:])]), abs=1e-5)
    assert by_cosine(dense, store, ["nothing"], [()]) == [()]


def test_the_pages_examples_that_need_no_run_work(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "retrieval.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    alone = [block for block in blocks if "import raglift\n" not in block]
    assert len(alone) == 2
    for block in alone:
        exec(block, {})
    assert "Low water is at six." in capsys.readouterr().out


YEARS = MetadataFilters(filters=[MetadataFilter(key="year", value=2024, operator=FilterOperator.GT)])


@pytest.mark.parametrize("kind", ["ours", "on disk", "simple"])
@pytest.mark.parametrize("dense", [True, False])
def test_only_nodes_that_pass_the_filters_are_found_by_vector_and_by_word(
    encoder: Encoder, folder: Path, tmp_path: Path, kind: str, dense: bool
) -> None:
    dated = [node(chunk) for chunk in CHUNKS]
    for row, each in enumerate(dated):
        each.metadata["year"] = 2020 + row
    embedding = LiftEmbedding(encoder, "tiny", folder)
    ours = FaissStore(dimension=32)
    ours.add_vectors(dated, encoder.encode(SENTENCES, "passage"))
    if kind == "simple":
        retriever = LiftRetriever.from_index(VectorStoreIndex(dated, embed_model=embedding), top_k=10)
    elif kind == "ours":
        retriever = LiftRetriever.from_index(VectorStoreIndex.from_vector_store(ours, embed_model=embedding), top_k=10)
    else:
        ours.persist(str(tmp_path))
        opened = FaissStore.open(tmp_path)
        retriever = LiftRetriever(FirstStage(Dense.of_store(encoder, opened), BM25, 10), opened.by_id(), 10)
    if not dense:
        retriever = LiftRetriever(FirstStage(None, BM25, 10), retriever._nodes, 10)
    passing = {each.node_id for each in dated if each.metadata["year"] > 2024}
    narrow = retriever.with_filters(YEARS)
    whole = retriever.retrieve_batch(ASKED)
    for hits, all_hits in zip(narrow.retrieve_batch(ASKED), whole, strict=True):
        ids = [hit.node.node_id for hit in hits]
        assert set(ids) <= passing
        if dense:
            assert set(ids) == passing
            assert {hit.node.node_id for hit in all_hits} == set(NODES)
        else:  # words alone: the others in the order and with the scores that they had
            assert found(hits) == [each for each in found(all_hits) if each[0] in passing]
    other = MetadataFilters(filters=[MetadataFilter(key="year", value=2020)])
    assert {hit.node.node_id for hits in narrow.with_filters(other).retrieve_batch(ASKED) for hit in hits} <= {"c0"}
    assert [len(hits) for hits in retriever.retrieve_batch(ASKED)] == [len(hits) for hits in whole]
    again = narrow.with_filters(None).retrieve_batch(ASKED)
    assert [found(hits) for hits in again] == [found(hits) for hits in whole]


def test_a_filter_that_fits_no_value_is_refused(index: VectorStoreIndex) -> None:
    wrong = MetadataFilters(filters=[MetadataFilter(key="source", value=3, operator=FilterOperator.IN)])
    with pytest.raises(UserError, match="compares by"):
        LiftRetriever.from_index(index).with_filters(wrong)
