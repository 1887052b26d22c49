"""What is mined stands past the positive, below the ceiling, and does not answer the question."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import EmbeddingConfig
from raglift.corpus.stage import Corpus
from raglift.index.stage import build as build_index
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder, load_encoder
from raglift.records import Chunk, Document, Evidence, QAPair, write_jsonl
from raglift.synthesis import hard_negatives
from raglift.synthesis.hard_negatives import Miner, load_pairs
from raglift.synthesis.words import holds
from raglift.training.pairs import Pair, asked
from tests import tasks
from tests.tiny import QUESTIONS, SENTENCES

COUNT = 12
TEXTS = [f"Passage {n} tells of ship {n % 5} in harbour {n}, and of nothing else there." for n in range(COUNT)]
TEXTS[3] = TEXTS[9]  # a copy


@st.composite
def cases(draw: st.DrawFn) -> tuple[Corpus, list[QAPair], int, float, Pair, tuple[tuple[str, float], ...]]:
    """A corpus with repeats, questions of which some ask the same, and a ranking with falling scores."""
    similar: dict[str, set[str]] = {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=4)):
        similar.setdefault(f"c{left}", set()).add(f"c{right}")
        similar.setdefault(f"c{right}", set()).add(f"c{left}")
    # Two neighbours overlap by half, as with corpus.chunk_overlap.
    chunks = [Chunk(f"c{n}", f"d{n // 4}", text, n * 10, n * 10 + 20) for n, text in enumerate(TEXTS)]
    made: Any = SimpleNamespace(similar=similar, chunks=chunks, text_of={chunk.id: chunk.text for chunk in chunks})
    made.split_of = dict.fromkeys((chunk.document_id for chunk in chunks), "train")
    questions = []
    for number in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, COUNT - 1))
        answers = tuple(draw(st.lists(st.sampled_from(["ship 1", "Ship 2!", "harbour 7", "nowhere"]), max_size=1)))
        evidence = (Evidence(f"d{at // 4}", f"c{at}", at * 10 + 5, at * 10 + 12),)
        text = draw(st.sampled_from(["Where?", "where? ", "Who?"]))
        questions.append(QAPair(f"q{number}", text, answers, evidence, "factoid", "train", "synthetic"))
    own = questions[0].evidence[0].chunk_id
    assert own is not None
    rows = draw(st.lists(st.integers(0, COUNT - 1), unique=True, max_size=COUNT))
    scores = sorted(draw(st.lists(st.floats(-1, 1), min_size=len(rows), max_size=len(rows))), reverse=True)
    ranking = tuple((f"c{row}", score) for row, score in zip(rows, scores, strict=True))
    pair = Pair(questions[0].question, made.text_of[own], own)
    return made, questions, draw(st.integers(1, 5)), draw(st.floats(0.1, 1)), pair, ranking


@given(cases())
def test_a_mined_passage_is_wrong_as_far_as_can_be_seen(
    case: tuple[Corpus, list[QAPair], int, float, Pair, tuple[tuple[str, float], ...]],
) -> None:
    corpus, questions, count, ceiling, pair, ranking = case
    found = Miner(corpus, questions, count, ceiling).mine(pair, ranking)
    assert (found.query, found.passage, found.chunk_id) == (pair.query, pair.passage, pair.chunk_id)
    assert len(found.negatives) <= count
    assert found.negatives == tuple(corpus.text_of[chunk_id] for chunk_id in found.negative_ids)
    corpus.split_of["d2"] = "test"
    without = Miner(corpus, questions, count, ceiling).mine(pair, ranking)
    assert not [name for name in without.negative_ids if name in ("c8", "c9", "c10", "c11")]
    assert len(set(found.negatives)) == len(found.negatives)
    assert not set(found.negative_ids) & set(found.spared)
    order, score = [chunk_id for chunk_id, _ in ranking], dict(ranking)
    same = [q for q in questions if asked(q.question) == asked(pair.query)]
    chunks = {chunk.id: chunk for chunk in corpus.chunks}
    for chunk_id in found.negative_ids:
        assert order.index(chunk_id) > order.index(pair.chunk_id)
        assert score[chunk_id] <= max(
            ceiling * score[pair.chunk_id], score[pair.chunk_id] if score[pair.chunk_id] < 0 else -1
        )
        for question in same:
            own = question.evidence[0]
            assert chunk_id != own.chunk_id
            assert chunk_id not in corpus.similar.get(own.chunk_id or "", set())
            assert not any(holds(corpus.text_of[chunk_id], answer) for answer in question.answers)
            chunk = chunks[chunk_id]
            assert chunk.document_id != own.document_id or chunk.end <= own.start or own.end <= chunk.start
        others = set(found.negative_ids) - {chunk_id}
        assert not corpus.similar.get(chunk_id, set()) & others
    assert {q.evidence[0].chunk_id for q in same} <= set(found.spared)


def corpus_of(folder: Path) -> Corpus:
    """One chunk a sentence."""
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(SENTENCES)]
    write_jsonl(folder / "chunks.jsonl", chunks)
    write_jsonl(folder / "documents.jsonl", [Document(chunk.document_id, "", "") for chunk in chunks])
    return Corpus(folder)


def simple(corpus: Corpus, rows: list[int], scores: list[float], count: int = 2, answer: str = "") -> Pair:
    """The first question's pair, mined from a ranking of chunks."""
    evidence = (Evidence("d0", "c0", 0, 9),)
    question = QAPair("q", "Where?", (answer,) * bool(answer), evidence, "factoid", "train", "synthetic")
    ranking = tuple((f"c{row}", score) for row, score in zip(rows, scores, strict=True))
    return Miner(corpus, [question], count, 0.95).mine(Pair("Where?", SENTENCES[0], "c0"), ranking)


def test_the_hardest_come_first_and_the_too_near_are_spared(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    found = simple(corpus, [5, 0, 1, 2, 3, 4], [0.9, 0.8, 0.77, 0.75, 0.5, 0.4])
    assert found.negative_ids == ("c2", "c3")  # 0.77 is above 95% of 0.8
    assert set(found.spared) == {"c0", "c1", "c5"}
    assert simple(corpus, [0, 1, 2, 3], [0.8, 0.7, 0.6, 0.5], answer="Tide table").negative_ids == ("c2", "c3")
    missing = simple(corpus, [1, 2, 3], [0.8, 0.7, 0.6])  # who knows what stands past it
    assert missing.negatives == ()
    assert set(missing.spared) == {"c0", "c1", "c2", "c3"}


def test_mined_pairs_are_stored_and_read_back(tiny_embedding: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    corpus = corpus_of(tmp_path / "corpus")
    encoder = Encoder(load_encoder(tiny_embedding, tasks.RUNTIME), tasks.RUNTIME)
    for name in ("index", "one", "two"):
        (tmp_path / name).mkdir()
    build_index(corpus.chunks, encoder, "key", "base", tasks.job(tmp_path / "index"))
    questions = [
        QAPair(f"q{n}", asked_, (said,), (Evidence(f"d{n}", f"c{n}", 0, 9),), "factoid", "train", "synthetic")
        for n, (asked_, said) in enumerate(QUESTIONS)
    ]
    store = FaissStore.open(tmp_path / "index")
    for name in ("one", "two"):
        settings = EmbeddingConfig(hard_negatives=2, hard_negative_ceiling=1.0)
        hard_negatives.build(settings, corpus, questions, encoder, store, tasks.job(tmp_path / name))
    pairs = load_pairs(tmp_path / "one")
    assert pairs == load_pairs(tmp_path / "two")
    assert [(pair.query, pair.chunk_id) for pair in pairs] == [(q, f"c{n}") for n, (q, _) in enumerate(QUESTIONS)]
    assert max(len(pair.negatives) for pair in pairs) == 2
    assert all(isinstance(pair.negatives, tuple) and pair.chunk_id in pair.spared for pair in pairs)


def test_given_negatives_stand_first_and_count(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    ranking = tuple((f"c{n}", 0.9 - n / 10) for n in range(6))
    pair = Pair("Where?", SENTENCES[0], "c0", ("elsewhere", SENTENCES[2]), ("text-x", "c2"), given=2)
    counts = {most: Miner(corpus, [], most, 0.95, [pair]).mine(pair, ranking) for most in (0, 2, 3, 4)}
    assert [len(found.negatives) for found in counts.values()] == [2, 2, 3, 4]
    assert counts[4].negative_ids == ("text-x", "c2", "c1", "c3")
    assert counts[4].negatives == ("elsewhere", SENTENCES[2], SENTENCES[1], SENTENCES[3])
    assert (counts[4].given, "c2" in counts[4].spared) == (2, False)
    high = (("c2", 0.95), *ranking[:2])  # said to be wrong, it is not spared for its rank either
    assert "c2" not in Miner(corpus, [], 3, 0.95, [pair]).mine(pair, high).spared


def test_what_is_given_for_a_query_answers_all_that_ask_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    written = Pair("Where?", SENTENCES[0], "c0")
    whole = f"A page. {SENTENCES[2]} {SENTENCES[3]}"  # two chunks, cut otherwise
    given_pairs = [Pair("where? ", SENTENCES[1], "c1"), Pair("WHERE?", whole, "text-x")]
    ranking = tuple((f"c{n}", 0.9 - n / 10) for n in range(6))
    corpus = Corpus(corpus.path, {"text-x": whole})
    found = Miner(corpus, [], 3, 1.0, given_pairs).mine(written, ranking)
    assert found.negative_ids == ("c4", "c5")
    assert {"c0", "c1", "c2", "c3", "text-x"} <= set(found.spared)
    foreign = Miner(corpus, [], 3, 1.0, given_pairs).mine(given_pairs[1], ranking)
    assert foreign.negatives == (), "nothing is known to stand past it"


@pytest.mark.parametrize("settings", [{"hard_negatives": -1}, {"hard_negative_ceiling": 0.0}])
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        EmbeddingConfig.model_validate(settings)


def test_other_right_passages_are_kept_and_no_negatives(tiny_embedding: Path, tmp_path: Path) -> None:
    for name in ("corpus", "index", "mined"):
        (tmp_path / name).mkdir()
    corpus = corpus_of(tmp_path / "corpus")
    encoder = Encoder(load_encoder(tiny_embedding, tasks.RUNTIME), tasks.RUNTIME)
    build_index(corpus.chunks, encoder, "key", "base", tasks.job(tmp_path / "index"))
    evidence = tuple(Evidence(chunk.document_id, chunk.id, chunk.start, chunk.end) for chunk in corpus.chunks[:2])
    asked = [
        QAPair("q", "How do they differ?", (), evidence, "comparison", "train", "synthetic"),
        QAPair("n", "Who?", (), (), "unanswerable", "train", "synthetic", answerable=False),
    ]
    settings = EmbeddingConfig(hard_negatives=3, hard_negative_ceiling=1.0)
    store = FaissStore.open(tmp_path / "index")
    hard_negatives.build(settings, corpus, asked, encoder, store, tasks.job(tmp_path / "mined"))
    pairs = load_pairs(tmp_path / "mined")
    own = [chunk.id for chunk in corpus.chunks[:2]]
    assert [(pair.chunk_id, pair.also) for pair in pairs] == [(own[0], (own[1],)), (own[1], (own[0],))]
    for pair in pairs:
        assert set(own) <= set(pair.spared)
        assert not set(own) & set(pair.negative_ids)
