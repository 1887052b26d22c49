"""Clozes give back what was taken out, and only about documents that may train."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from raglift.records import Chunk
from raglift.synthesis.cloze import clozes
from raglift.synthesis.words import words

SENTENCES = (
    "The keeper of lighthouse {n} writes the name of every passing ship into a leather book.",
    "Snow closes the narrow mountain pass number {n} from November until the middle of May.",
)


def corpus() -> Any:
    chunks = [
        Chunk(f"c{n}", f"d{n}", SENTENCES[n % 2].format(n=n), 0, len(SENTENCES[n % 2].format(n=n))) for n in range(12)
    ]
    split_of = {f"d{n}": "train" if n < 8 else "test" for n in range(12)}
    return SimpleNamespace(chunks=chunks, split_of=split_of)


def test_the_answer_stands_in_the_chunk_and_not_in_the_question() -> None:
    texts = {chunk.id: chunk.text for chunk in corpus().chunks}
    found = clozes(corpus(), 8, 0)
    assert len(found) == 8
    for pair in found:
        text = texts[pair.evidence[0].chunk_id or ""]
        answer = " ".join(words(pair.answers[0]))
        assert answer
        assert answer in " ".join(words(text))
        assert f" {answer} " not in f" {' '.join(words(pair.question))} "
        assert "what" in words(pair.question)
        assert pair.question.endswith("?")


def test_only_train_documents_are_asked_about_and_one_cloze_a_chunk() -> None:
    found = clozes(corpus(), 100, 0)
    assert sorted(pair.evidence[0].chunk_id or "" for pair in found) == [f"c{n}" for n in range(8)]
    assert all(pair.split == "train" for pair in found)


def test_the_same_seed_gives_the_same_clozes() -> None:
    assert clozes(corpus(), 5, 1) == clozes(corpus(), 5, 1)
    assert clozes(corpus(), 5, 1) != clozes(corpus(), 5, 2)
    assert clozes(corpus(), 0, 1) == []
