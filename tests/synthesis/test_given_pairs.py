"""A pair that a user brings trains unless it is held out; its passage is known among the chunks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.corpus.stage import Corpus
from raglift.records import Chunk, Document, Evidence, QAPair, Split, write_jsonl
from raglift.synthesis import given_pairs
from raglift.synthesis.given_pairs import GivenPairs, given_pair, learnable, said_of
from raglift.synthesis.hard_negatives import load_pairs
from raglift.training.pairs import Pair
from tests.tasks import job

SPLITS: tuple[Split, ...] = ("train", "train", "dev", "test")
TEXTS = [
    " ".join(f"Part {part} of book {n} tells in words of its own of ship {n} and harbour {n}{part}." for part in "abcd")
    for n in range(4)
]
CHUNKS = [text.split(". ") for text in TEXTS]
FOREIGN = "A text of nowhere that says how late cancellations are paid back in full and at once."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Four documents, two of which train, of four chunks each; a human test and a synthetic dev question."""
    folder = tmp_path_factory.mktemp("corpus")
    documents = [
        Document(f"d{n}", f"{n}.md", text, {}, f"d{n}", split)
        for n, (text, split) in enumerate(zip(TEXTS, SPLITS, strict=True))
    ]
    chunks = [
        Chunk(f"c{n}{k}", f"d{n}", text, 0, len(text)) for n, cut in enumerate(CHUNKS) for k, text in enumerate(cut)
    ]
    human = [QAPair("h", "Which ship is  late?", (), (Evidence("d0"),), "human", "test", "human")]
    write_jsonl(folder / "documents.jsonl", documents)
    write_jsonl(folder / "chunks.jsonl", chunks)
    write_jsonl(folder / "human.jsonl", human)
    return Corpus(folder)


WRITTEN = [
    QAPair("s", "Who wrote it, STRASSE?", (), (Evidence("d2", "c20"),), "factoid", "dev", "synthetic"),
    QAPair("t", "What trains?", (), (Evidence("d0", "c00"),), "factoid", "train", "synthetic"),
]


def kept(corpus: Corpus, *pairs: Pair) -> tuple[list[Pair], Counter[str]]:
    return learnable(pairs, corpus, WRITTEN, 0.8)


def test_what_judges_or_chooses_does_not_train(corpus: Corpus) -> None:
    found, counts = kept(
        corpus,
        given_pair("which SHIP is late?\n", FOREIGN),
        given_pair("who wrote it, stra\u00dfe?", FOREIGN),
        given_pair("What trains?", FOREIGN),
        given_pair("And this?", CHUNKS[3][1]),
        given_pair("And that?", f"{' '.join(TEXTS[2].split()[:40])} of it"),
        given_pair("And all of it?", f"Before. {TEXTS[3]} After."),
        given_pair("And one that trains?", CHUNKS[0][1]),
    )
    assert [pair.query for pair in found] == ["What trains?", "And one that trains?"]
    assert counts == {
        "given pairs left out: their query is a development or test question": 2,
        "given pairs left out: their passage repeats a development or test document": 3,
    }


def test_a_short_chunk_of_a_held_out_document_does_not_train(tmp_path: Path) -> None:
    texts = {"train": "Fees of the harbour stand in the long table of the book.", "test": "Twelve euros."}
    documents = [
        Document("train", "train.md", texts["train"], {}, "train", "train"),
        Document("test", "test.md", f"{texts['test']} {FOREIGN}", {}, "test", "test"),
    ]
    write_jsonl(tmp_path / "documents.jsonl", documents)
    write_jsonl(tmp_path / "chunks.jsonl", [Chunk(name, name, text, 0, len(text)) for name, text in texts.items()])
    write_jsonl(tmp_path / "human.jsonl", [])
    pairs = [given_pair("How much?", "Twelve \n euros."), given_pair("Where?", texts["train"])]
    found, counts = learnable(pairs, Corpus(tmp_path), [], 0.8)
    assert [pair.chunk_id for pair in found] == ["train"]
    assert counts.total() == 1


def test_a_passage_is_known_by_its_text(corpus: Corpus) -> None:
    spaced = CHUNKS[1][2].replace(" ", "  \n")
    found, _ = kept(
        corpus, given_pair("one?", spaced), given_pair("two?", FOREIGN), given_pair("three?", f" {FOREIGN}")
    )
    assert found[0].chunk_id == "c12"
    assert found[0].passage == spaced
    assert found[1].chunk_id == found[2].chunk_id not in corpus.text_of


def test_several_passages_are_right_and_a_repeated_pair_brings_its_negatives(corpus: Corpus) -> None:
    wrong = ("It is wrong that ships are late on all of the other days.", "Nor is it true that they are early.")
    found, counts = kept(
        corpus,
        given_pair("When?", CHUNKS[0][0], wrong[:1]),
        given_pair("when? ", CHUNKS[0][1], [CHUNKS[0][0], CHUNKS[3][0], wrong[0], wrong[0]]),
        given_pair("When?", CHUNKS[0][0], wrong[1:]),
    )
    assert [(pair.chunk_id, pair.also) for pair in found] == [("c00", ("c01",)), ("c01", ("c00",))]
    assert [pair.negatives for pair in found] == [wrong, wrong[:1]]
    assert [pair.given for pair in found] == [2, 1]
    assert all(len(pair.negative_ids) == pair.given for pair in found)
    assert counts == {
        "given pairs left out: they stand there twice; the negatives of both count": 1,
        "negatives left out: held out, right, or twice there": 3,
    }


PASSAGES = [*(text for cut in CHUNKS for text in cut), *TEXTS, FOREIGN]
QUERIES = ["Which ship is late?", "who wrote it, strasse?", "what trains?", "another?", "Another? "]


@given(
    st.lists(
        st.tuples(st.sampled_from(QUERIES), st.sampled_from(PASSAGES), st.lists(st.sampled_from(PASSAGES), max_size=2)),
        max_size=8,
    )
)
def test_nothing_held_out_is_ever_left_and_nothing_is_lost_uncounted(
    corpus: Corpus, rows: list[tuple[str, str, list[str]]]
) -> None:
    pairs = [given_pair(*row) for row in rows]
    found, counts = kept(corpus, *pairs)
    held = {text for n, cut in enumerate(CHUNKS) if SPLITS[n] != "train" for text in (*cut, TEXTS[n])}
    trained = {text for pair in found for text in (pair.passage, *pair.negatives)}
    assert not trained & held
    assert not {pair.query.lower() for pair in found} & {"which ship is late?", "who wrote it, strasse?"}
    left_out = sum(n for reason, n in counts.items() if reason.startswith("given pairs left out"))
    assert len(found) + left_out == len(pairs)
    assert len({(pair.query.strip().lower(), pair.chunk_id) for pair in found}) == len(found)
    for pair in found:
        assert not {pair.chunk_id, *pair.also} & set(pair.negative_ids)
        assert len(set(pair.negative_ids)) == len(pair.negatives) == pair.given
    assert learnable(found, corpus, WRITTEN, 0.8)[0] == found


def test_the_stage_writes_the_same_bytes_and_counts(corpus: Corpus, tmp_path: Path) -> None:
    pairs = (given_pair("one?", CHUNKS[0][0], [FOREIGN]), given_pair("Which ship is late?", FOREIGN))
    given_ = GivenPairs(pairs, Counter({"a query without a passage": 3}))
    for name in ("one", "two"):
        given_pairs.build(given_, corpus, WRITTEN, 0.8, job(tmp_path / name))
    files = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")]
    assert files[0] == files[1]
    (pair,) = load_pairs(tmp_path / "one")
    assert (pair.chunk_id, pair.negatives, pair.given) == ("c00", (FOREIGN,), 1)
    rows = {row["reason"]: row["count"] for row in json.loads((tmp_path / "one" / "funnel.json").read_text("utf-8"))}
    assert rows["given pairs read"] == 5
    assert rows["given pairs that train"] == rows["given pairs that train, about a passage of the documents"] == 1
    assert rows["negatives that came with them"] == 1
    assert said_of(tmp_path / "one") == (
        1,
        ["3 (a query without a passage)", "1 (their query is a development or test question)"],
    )


def test_foreign_passages_are_like_the_chunks_that_they_hold(corpus: Corpus) -> None:
    beside = {"text-x": f"{CHUNKS[0][0]}. {CHUNKS[0][1]}.", "text-y": FOREIGN, "c00": "A chunk's text is the chunk's."}
    found = Corpus(corpus.path, beside).similar
    assert {"c00", "c01"} <= set(found["text-x"])
    assert "text-x" in found["c00"]
    assert "text-y" not in found
    assert {name: others - {"text-x"} for name, others in found.items() if name != "text-x"} == corpus.similar


def test_a_held_out_chunk_does_not_train_within_another_text(corpus: Corpus) -> None:
    chunk = CHUNKS[3][1]
    header = "file: berths.md | section: the whole of it, with all that a reader may want to know before he reads\n"
    found, _ = kept(
        corpus,
        given_pair("And behind a header?", header + chunk),
        given_pair(f"Context: {chunk} Question: which ship?", FOREIGN),
        given_pair("And as wrong?", FOREIGN, (header + chunk, "A text that is wrong, and of nowhere either.")),
        given_pair("Which ship is late", FOREIGN),
        given_pair("which ship is late\uff1f", FOREIGN),
    )
    assert [pair.query for pair in found] == ["And as wrong?"]
    assert [len(pair.negatives) for pair in found] == [1]


def test_however_many_texts_quote_a_held_out_chunk_none_trains(corpus: Corpus) -> None:
    many = [given_pair(f"Number {n}?", f"Of {n} and {n + 1} it says: {CHUNKS[3][1]} That is {n}.") for n in range(2500)]
    assert kept(corpus, *many)[0] == []
