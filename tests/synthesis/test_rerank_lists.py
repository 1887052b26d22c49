"""A reranker's lists: hard and random wrong passages that answer nobody, and the first stage's rankings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raglift.config import RerankConfig
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense
from raglift.index.encoding import node
from raglift.index.first_stage import FirstStage
from raglift.index.first_stage import asked as searches_of
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.records import Chunk, Evidence, QAPair
from raglift.synthesis.hard_negatives import load_pairs
from raglift.synthesis.rerank_lists import ListMiner, build, load_dev
from raglift.synthesis.words import holds
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

SPLITS = ["train"] * 6 + ["dev", "test", "train", "dev"]
CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate(SENTENCES)]


def question(row: int, name: str = "", origin: Any = "synthetic", split: Any = None) -> QAPair:
    asked, said = QUESTIONS[row]
    evidence = (Evidence(f"d{row}", f"c{row}", 0, len(SENTENCES[row])),)
    return QAPair(name or f"q{row}", asked, (said,), evidence, "factoid", split or SPLITS[row], origin)  # type: ignore[arg-type]


WRITTEN = [question(row) for row in range(8)]
PEOPLES = [question(row, f"h{row}", "human", "dev") for row in (2, 4, 5)] + [
    QAPair("h9", "Who painted it?", (), (), "factoid", "dev", "human", answerable=False)
]


@pytest.fixture(scope="module")
def corpus() -> Any:
    return SimpleNamespace(
        chunks=CHUNKS,
        human=PEOPLES,
        similar={"c1": {"c3"}, "c3": {"c1"}},
        text_of={chunk.id: chunk.text for chunk in CHUNKS},
        split_of={f"d{row}": split for row, split in enumerate(SPLITS)},
    )


@pytest.fixture(scope="module")
def encoder(tiny_embedding: Path) -> Encoder:
    return Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)


@pytest.fixture(scope="module")
def store(encoder: Encoder) -> FaissStore:
    store = FaissStore(dimension=32)
    store.add_vectors([node(chunk) for chunk in CHUNKS], encoder.encode(SENTENCES, "passage"))
    return store


@pytest.fixture(scope="module")
def first(encoder: Encoder, store: FaissStore) -> FirstStage:
    return FirstStage(Dense.of_store(encoder, store), Bm25([chunk.id for chunk in CHUNKS], SENTENCES), 10)


def test_wrong_passages_are_trained_on_and_answer_nobody(
    corpus: Any, first: FirstStage, store: FaissStore, tmp_path: Path
) -> None:
    settings = RerankConfig(hard_negatives=2, random_negatives=2, hard_negative_ceiling=1.0, dev_questions=2, depth=5)
    build(settings, corpus, WRITTEN, first, store, tasks.job(tmp_path))
    pairs = load_pairs(tmp_path)
    assert {pair.chunk_id for pair in pairs} <= {f"c{row}" for row in range(6)}
    assert len(pairs) > 3
    for pair in pairs:
        assert 1 <= len(pair.negatives) <= 4
        assert not set(pair.negative_ids) & set(pair.spared)
        assert pair.negatives == tuple(corpus.text_of[chunk_id] for chunk_id in pair.negative_ids)
        assert len(set(pair.negative_ids)) == len(pair.negative_ids)
        (asked,) = [q for q in WRITTEN if q.question == pair.query]
        for chunk_id in pair.negative_ids:
            assert corpus.split_of[f"d{chunk_id[1:]}"] == "train"
            assert chunk_id not in {pair.chunk_id, *corpus.similar.get(pair.chunk_id, ())}
            assert not any(holds(corpus.text_of[chunk_id], answer) for answer in asked.answers)
    funnel = {row["reason"]: row["count"] for row in json.loads((tmp_path / "funnel.json").read_text())}
    assert funnel["wrong passages"] == sum(len(pair.negatives) for pair in pairs)
    build(settings, corpus, WRITTEN, first, store, tasks.job(tmp_path / "again"))
    assert load_pairs(tmp_path / "again") == pairs
    build(settings, corpus, WRITTEN, first, store, tasks.job(tmp_path / "other", seed=1))
    assert load_pairs(tmp_path / "other") != pairs


def test_the_development_questions_keep_the_first_stages_order(
    corpus: Any, first: FirstStage, store: FaissStore, tmp_path: Path
) -> None:
    build(RerankConfig(dev_questions=2, depth=5), corpus, WRITTEN, first, store, tasks.job(tmp_path))
    people, written = load_dev(tmp_path, (corpus.human, WRITTEN))
    assert len(people) == 2
    assert {q.id for q, _ in people} < {"h2", "h4", "h5"}, "one without evidence cannot be ranked for"
    assert [q.id for q, _ in written] == ["q6"]
    for asked, ranking in (*people, *written):
        assert ranking == first.rankings(searches_of([asked.question]), 5)[0]


def test_random_ones_only(corpus: Any) -> None:
    miner = ListMiner(corpus, WRITTEN, 0, 1.0)
    for pair in tasks.pairs()[:6]:
        found = miner.with_random(miner.mine(pair, ()), 3, random.Random(0))
        assert len(found.negatives) == 3
        more = miner.with_random(found, 100, random.Random(0))
        assert more.negatives[:3] == found.negatives
        assert len(more.negatives) < 7, "there are no more"


def test_a_question_with_several_right_passages_is_spared_all(corpus: Any) -> None:
    """Whoever asks the same elsewhere, what answers it is not wrong."""
    again = QAPair("x", f" {QUESTIONS[0][0].upper()}", (), (Evidence("d5", "c5"),), "factoid", "train", "synthetic")
    miner = ListMiner(corpus, [*WRITTEN, again], 0, 1.0)
    (pair,) = [p for p in tasks.pairs() if p.chunk_id == "c0"]
    drawn = {
        chunk_id
        for seed in range(20)
        for chunk_id in miner.with_random(miner.mine(pair, ()), 3, random.Random(seed)).negative_ids
    }
    assert drawn == {"c1", "c2", "c3", "c4", "c8"}
