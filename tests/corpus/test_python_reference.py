from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from raglift import plugins
from raglift.corpus import python_reference
from raglift.corpus.chunking import chunk_documents
from raglift.corpus.documents import read_documents
from raglift.corpus.human import human_pairs
from raglift.corpus.judged import HumanQuestion, read_questions
from raglift.synthesis.words import words


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in python_reference.questions()]


@pytest.fixture(scope="module")
def questions() -> list[HumanQuestion]:
    return read_questions(None, python_reference.NAME)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_there_are_enough_of_both_kinds(questions: list[HumanQuestion]) -> None:
    unanswerable = sum(not question.answerable for question in questions)
    assert unanswerable >= 12
    assert len(questions) - unanswerable >= 100
    assert len(questions) >= 120


def test_every_line_is_whole(rows: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({tuple(words(row["question"])) for row in rows}) == len(rows)
    for row in rows:
        assert set(row) == {"id", "question", "answer", "topics", "quotes"}, row["id"]
        if row["answer"] is None:
            assert row["topics"] == row["quotes"] == [], row["id"]
        else:
            assert row["answer"].strip(), row["id"]
            assert row["topics"], row["id"]
            assert row["quotes"], row["id"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the questions are written for Python 3.11's reference")
def test_the_topics_are_those_that_hold_a_quote(rows: list[dict[str, Any]]) -> None:
    texts = {topic: squeezed(text) for topic, text in python_reference.texts().items()}
    for row in rows:
        quotes = [squeezed(quote) for quote in row["quotes"]]
        holding = {topic for topic, text in texts.items() if any(quote in text for quote in quotes)}
        assert holding == set(row["topics"]), row["id"]
        assert all(any(quote in texts[topic] for topic in row["topics"]) for quote in quotes), row["id"]


def test_most_questions_survive_on_every_version(questions: list[HumanQuestion]) -> None:
    documents = read_documents(python_reference.NAME)
    chunks = chunk_documents(documents, 160, 0)
    pairs, dropped = human_pairs(questions, documents, chunks, 1 / 3, 0)
    answerable = sum(question.answerable for question in questions)
    survived = sum(pair.answerable for pair in pairs)
    assert survived + dropped.total() == answerable
    assert survived >= 0.8 * answerable
    if sys.version_info[:2] == (3, 11):
        assert survived == answerable
    texts = {document.id: document.text for document in documents}
    quotes = {question.id: [squeezed(quote) for quote in question.quotes] for question in questions}
    for pair in pairs:
        for item in pair.evidence:
            shown = squeezed(texts[item.document_id][item.start : item.end])
            assert any(shown in quote for quote in quotes[pair.id]), pair.id


def test_no_question_is_a_worked_example(questions: list[HumanQuestion]) -> None:
    kinds = [plugins.load("question kind", name) for name in plugins.names("question kind")]
    shots = {tuple(words(shot.asked)) for kind in kinds for shot in kind.shots}
    assert len(shots) >= 10
    assert not [question.id for question in questions if tuple(words(question.question)) in shots]
