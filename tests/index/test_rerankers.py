"""A reranker as LlamaIndex objects, scored as in training."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from raglift.index.encoding import node
from raglift.index.rerankers import LiftReranker
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
