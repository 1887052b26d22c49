"""Claims come in pairs, a true one and one made of it, and never across splits."""

from __future__ import annotations

from collections import Counter

import pytest

from raglift import plugins
from raglift.corpus.stage import Corpus
from raglift.grounding.claims import Claim, claims_of
from raglift.grounding.stage import Claims, without
from raglift.records import Chunk, Document, Evidence, QAPair, Split, write_jsonl
from tests.grounding.texts import TEXTS

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    documents = [Document(f"d{n}", f"d{n}", text, split=SPLITS[n % 3]) for n, text in enumerate(TEXTS)]
    write_jsonl(folder / "documents.jsonl", documents)
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, text in enumerate(TEXTS)]
    write_jsonl(folder / "chunks.jsonl", chunks)
    return Corpus(folder)


QUESTIONS = [
    QAPair("q0", "What does the ferry carry?", ("forty cars",), (Evidence("d0", "c0"),), "what", "train", "synthetic"),
    QAPair("q1", "Who built the pier?", ("Miller and Sons",), (Evidence("d1"),), "who", "dev", "human"),
    QAPair("q2", "Who is nobody?", (), (), "who", "dev", "human", answerable=False),
]


@pytest.mark.parametrize("split", SPLITS)
def test_every_true_claim_is_followed_by_one_that_was_made_of_it(corpus: Corpus, split: Split) -> None:
    found = claims_of(corpus, QUESTIONS, split, 0, 100)
    assert found
    passages = {chunk.text for chunk in corpus.chunks if corpus.split_of[chunk.document_id] == split}
    for true, false in zip(found[::2], found[1::2], strict=True):
        assert (true.supported, false.supported) == (True, False)
        assert true.kind in ("sentence", "reworded", "answer", "restated")
        assert false.kind in plugins.names("corruption")
        assert true.passage == false.passage
        assert true.passage in passages
        assert true.document_id == false.document_id
        assert false.text != true.text
        assert false.text not in false.passage
    others = {other for other in SPLITS if other != split}
    foreign = " ".join(chunk.text for chunk in corpus.chunks if corpus.split_of[chunk.document_id] in others)
    invented = [claim.text for claim in found if claim.kind == "invention"]
    assert not [text for text in invented if text in foreign]


def test_another_answer_takes_the_place_of_an_answer_behind_a_question_alone(corpus: Corpus) -> None:
    """The form of a claim, bare or behind a question, must not say whether it is true."""
    whole = "The ferry carries forty cars across the wide bay."
    more = [
        ("q3", "who built the ferry", "Miller and Sons"),
        ("q4", "What does it cost?", "ten crowns"),
        ("q5", "What is said of the ferry?", whole),
    ]
    asked = [QAPair(i, q, (a,), (Evidence("d0", "c0"),), "what", "train", "human") for i, q, a in more]
    for seed in range(20):
        found = claims_of(corpus, [*QUESTIONS, *asked], "train", seed, 100, ["wrong_answer", "negation"])
        for true, false in zip(found[::2], found[1::2], strict=True):
            if false.kind == "wrong_answer":
                assert "? " in false.text or true.kind == "restated", (true.text, false.text)


def test_answers_stand_with_their_questions_in_the_chunk_that_holds_them(corpus: Corpus) -> None:
    by_split = {split: claims_of(corpus, QUESTIONS, split, 0, 100) for split in SPLITS}
    answers = {split: [claim for claim in found if claim.kind == "answer"] for split, found in by_split.items()}
    assert [(claim.text, claim.document_id) for claim in answers["train"]] == [
        ("What does the ferry carry? forty cars", "d0")
    ]
    assert [(claim.text, claim.document_id) for claim in answers["dev"]] == [
        ("Who built the pier? Miller and Sons", "d1")
    ]
    assert not answers["test"]


def test_they_are_drawn_with_the_seed_and_no_more_than_wanted(corpus: Corpus) -> None:
    assert claims_of(corpus, QUESTIONS, "train", 0, 100) == claims_of(corpus, QUESTIONS, "train", 0, 100)
    assert claims_of(corpus, QUESTIONS, "train", 0, 100) != claims_of(corpus, QUESTIONS, "train", 1, 100)
    assert len(claims_of(corpus, QUESTIONS, "train", 0, 3)) == 6


def test_only_the_corruptions_that_are_named_are_used(corpus: Corpus) -> None:
    found = claims_of(corpus, (), "train", 0, 100, ["negation"])
    assert {claim.kind for claim in found if not claim.supported} == {"negation"}


def test_a_question_with_its_answer_may_come_as_one_sentence(corpus: Corpus) -> None:
    asked = [
        QAPair(
            f"q{n}", "Who was the builder of it?", (f"Kit Cole {n}",), (Evidence("d0", "c0"),), "who", "train", "human"
        )
        for n in range(20)
    ]
    found = claims_of(corpus, asked, "train", 0, 1000)
    said = {claim.text for claim in found if claim.kind == "restated"}
    assert said
    assert said < {f"Kit Cole {n} was the builder of it." for n in range(20)}
    for true, false in zip(found[::2], found[1::2], strict=True):
        if true.kind == "restated":
            assert not false.text.startswith("Who")


def test_a_kind_that_is_left_out_is_judged_alone() -> None:
    def pair(kind: str, number: int) -> list[Claim]:
        text = f"{kind} {number}"
        return [Claim(text, text, True, "sentence", "d"), Claim(text, "other", False, kind, "d")]

    some = [claim for number in range(3) for kind in ("number", "swap") for claim in pair(kind, number)]
    found = without(Claims(some, some, some), "swap")
    assert Counter(claim.kind for claim in found.train) == {"sentence": 3, "number": 3}
    assert found.dev == found.train
    assert Counter(claim.kind for claim in found.test) == {"sentence": 3, "swap": 3}
    assert all("swap" in claim.text for claim in found.test)
