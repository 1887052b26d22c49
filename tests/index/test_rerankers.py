"""A reranker as LlamaIndex objects, scored as in training."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from raglift.index.first_stage import FirstStage
from raglift.index.ranking import Bm25, dense_rankings, fuse
from raglift.index.rerankers import LiftReranker, RerankingRetriever
from raglift.index.stage import node
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.reranker import CrossEncoderReranker, load_reranker
from raglift.records import Chunk
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

CHUNKS = [
    Chunk(f"c{row}", f"d{row}", text, 0, len(text), {"source": f"{row}.txt"}) for row, text in enumerate(SENTENCES)
]
ASKED = QUESTIONS[0][0]


class Fixed(BaseRetriever):
    """Finds the same nodes for every question."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__()
        self._rows = rows

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=node(CHUNKS[row]), score=1.0 / (1 + place)) for place, row in enumerate(self._rows)]


@pytest.fixture(scope="module")
def reranker(tiny_cross_encoder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(load_reranker(tiny_cross_encoder, RUNTIME), RUNTIME)


def test_nodes_come_in_the_order_of_their_scores(reranker: CrossEncoderReranker) -> None:
    first = Fixed([3, 1, 4, 0, 5])
    expected = reranker.scores([(ASKED, SENTENCES[row]) for row in (3, 1, 4, 0, 5)])
    best = [f"c{row}" for row in np.array([3, 1, 4, 0, 5])[np.argsort(-expected)]]
    lift = LiftReranker(reranker, 3, "folder")
    for found in (
        lift.postprocess_nodes(first.retrieve(ASKED), query_str=ASKED),
        asyncio.run(lift.apostprocess_nodes(first.retrieve(ASKED), query_str=ASKED)),
        RerankingRetriever(first, lift).retrieve(ASKED),
        asyncio.run(RerankingRetriever(first, lift).aretrieve(ASKED)),
    ):
        assert [hit.node.node_id for hit in found] == best[:3]
        assert [hit.score for hit in found] == pytest.approx(sorted(expected.tolist(), reverse=True)[:3], abs=1e-5)
    assert lift.postprocess_nodes([], query_str=ASKED) == []
    with pytest.raises(ValueError, match="needs the question"):
        lift.postprocess_nodes(first.retrieve(ASKED))
    assert lift.class_name() == "LiftReranker"


def test_it_reads_what_the_evaluation_reads(reranker: CrossEncoderReranker) -> None:
    """The chunk's text without its metadata."""
    ranking = tuple((chunk.id, 0.0) for chunk in CHUNKS)
    (scored,) = reranker.rerank([(ASKED, ranking)], {chunk.id: chunk.text for chunk in CHUNKS})
    served = LiftReranker(reranker, 10, "folder").postprocess_nodes(Fixed(range(10)).retrieve(ASKED), query_str=ASKED)
    assert [(hit.node.node_id, hit.score) for hit in served] == [(chunk_id, score) for chunk_id, score in scored]


@pytest.mark.parametrize("fused", [False, True])
def test_the_first_stage_is_that_of_the_arms(fused: bool, tiny_embedding: Path) -> None:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    store = FaissStore(dimension=32)
    store.add_vectors([node(chunk) for chunk in CHUNKS], encoder.encode(SENTENCES, "passage"))
    bm25 = Bm25([chunk.id for chunk in CHUNKS], SENTENCES)
    first = FirstStage(encoder, store, bm25 if fused else None, depth=6, rrf_k=60)
    asked = [question for question, _ in QUESTIONS]
    found = first.rankings(asked, 4)
    dense = dense_rankings(store, encoder.encode(asked, "query"), 6)
    both = [fuse(pair, 4, 60) for pair in zip(dense, bm25.rankings(asked, 6), strict=True)]
    assert found == (both if fused else [ranking[:4] for ranking in dense])
    for question, ranking, sorted_ in zip(asked, found, first.by_cosine(asked, found), strict=True):
        assert {chunk_id for chunk_id, _ in sorted_} == {chunk_id for chunk_id, _ in ranking}
        assert [score for _, score in sorted_] == sorted((score for _, score in sorted_), reverse=True)
        query, passages = encoder.encode([question], "query"), encoder.encode(SENTENCES, "passage")
        for chunk_id, score in sorted_:
            assert score == pytest.approx(float(query[0] @ passages[int(chunk_id[1:])]), abs=1e-5)
    assert first.by_cosine(["nothing"], [()]) == [()]
