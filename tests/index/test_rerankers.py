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
from raglift.index.mixed_order import MixedReranker, mixed
from raglift.index.ranking import Ranking
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


def test_a_part_of_the_first_stages_scores_may_count(reranker: CrossEncoderReranker) -> None:
    text_of = {chunk.id: chunk.text for chunk in CHUNKS}
    first = tuple((chunk.id, 1.0 / (3 + rank)) for rank, chunk in enumerate(CHUNKS[:6]))
    (alone,) = reranker.rerank([(ASKED, first)], text_of)
    assert MixedReranker(reranker, 0.0).rerank([(ASKED, first)], text_of) == [alone]
    ((best, _), *_) = mixed([first], [alone], 0.999)[0]
    assert best == first[0][0]
    (half,) = MixedReranker(reranker, 0.5).rerank([(ASKED, first)], text_of)

    def unit(ranking: Ranking) -> dict[str, float]:
        scores = [score for _, score in ranking]
        return {name: (score - min(scores)) / (max(scores) - min(scores)) for name, score in ranking}

    expected = {name: (score + unit(alone)[name]) / 2 for name, score in unit(first).items()}
    assert dict(half) == pytest.approx(expected)
    assert [name for name, _ in half] == sorted(expected, key=lambda name: -expected[name])


def test_served_nodes_are_mixed_as_the_evaluation_mixes_rankings(reranker: CrossEncoderReranker) -> None:
    nodes = Fixed([3, 1, 4, 0, 5]).retrieve(ASKED)
    for place, hit in enumerate(nodes):
        hit.score = 0.9 - 0.1 * place
    order = MixedReranker(reranker, 0.4)
    ranking = tuple((hit.node.node_id, hit.score or 0.0) for hit in nodes)
    (expected,) = order.rerank([(ASKED, ranking)], {chunk.id: chunk.text for chunk in CHUNKS})
    served = LiftReranker(order, 5, "folder").postprocess_nodes(nodes, query_str=ASKED)
    assert [hit.node.node_id for hit in served] == [name for name, _ in expected]
    assert [hit.score for hit in served] == pytest.approx([score for _, score in expected], abs=1e-6)


def test_the_order_in_which_nodes_come_does_not_turn_the_first_stages_scores_round(
    reranker: CrossEncoderReranker,
) -> None:
    nodes = Fixed([3, 1, 4, 0, 5]).retrieve(ASKED)
    order = LiftReranker(MixedReranker(reranker, 0.9), 5, "folder")
    expected = order.postprocess_nodes(nodes, query_str=ASKED)
    for shuffled in (nodes[::-1], [nodes[row] for row in (2, 0, 4, 1, 3)]):
        served = order.postprocess_nodes(shuffled, query_str=ASKED)
        assert [hit.node.node_id for hit in served] == [hit.node.node_id for hit in expected]
        assert [hit.score for hit in served] == pytest.approx([hit.score for hit in expected], abs=1e-5)
