"""What a search spends is told stage by stage, and only to whom asks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense
from raglift.index.encoding import node
from raglift.index.first_stage import FirstStage
from raglift.index.latency import latencies, stage
from raglift.index.rerankers import LiftReranker
from raglift.index.retriever import LiftRetriever
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.query_memory import QueryMemory
from raglift.models.reranker import CrossEncoderReranker, load_reranker
from raglift.records import Chunk
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

ASKED = [question for question, _ in QUESTIONS]
CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text), {}) for row, text in enumerate(SENTENCES)]


def retriever_of(tiny_embedding: Path, tiny_cross_encoder: Path) -> LiftRetriever:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    nodes = [node(chunk) for chunk in CHUNKS]
    store = FaissStore(dimension=encoder.dimension)
    store.add_vectors(nodes, encoder.encode(SENTENCES, "passage"))
    bm25 = Bm25([chunk.id for chunk in CHUNKS], SENTENCES)
    first = FirstStage(Dense.of_store(QueryMemory(encoder), store), bm25, 6)
    reranker = CrossEncoderReranker(load_reranker(tiny_cross_encoder, RUNTIME), RUNTIME)
    retriever = LiftRetriever(first, {each.node_id: each for each in nodes}, 3)
    return retriever.with_reranker(LiftReranker(reranker, 3, "tiny"), 6)


def test_every_stage_of_a_retriever_is_told_and_the_whole_is_more(
    tiny_embedding: Path, tiny_cross_encoder: Path
) -> None:
    found = {each.stage: each for each in retriever_of(tiny_embedding, tiny_cross_encoder).latencies(ASKED)}
    assert list(found) == ["bm25", "encoding", "searching", "fusing", "reranking", "whole"]
    assert all(0 < each.p50 <= each.p95 for each in found.values())
    parts = [each.p50 for name, each in found.items() if name != "whole"]
    assert max(parts) < found["whole"].p50


def test_percentiles_are_those_of_the_questions() -> None:
    def retrieve(question: str) -> None:
        with stage("searching"):
            time.sleep(0.001 * float(question))

    found = latencies(retrieve, ["1"] * 9 + ["40"])
    searching, whole = found
    assert (searching.stage, whole.stage) == ("searching", "whole")
    assert 1 <= searching.p50 < searching.p95
    assert searching.p50 <= whole.p50


def test_a_stage_that_is_entered_twice_counts_twice_and_nobody_else_is_measured() -> None:
    def retrieve(_: str) -> None:
        for _round in range(2):
            with stage("searching"):
                time.sleep(0.002)

    assert latencies(retrieve, ["a"])[0].p50 >= 4
    with stage("searching"):
        pass  # where nobody measures, nothing is kept


def test_without_a_question_there_is_nothing_to_measure() -> None:
    with pytest.raises(UserError, match="no question to ask"):
        latencies(lambda question: None, [])
