"""The probe that ships with raglift is consistent with itself."""

from __future__ import annotations

from itertools import combinations

from raglift.evaluation.metrics.exact_match import normalize_answer
from raglift.evaluation.probe import Probe, read_probe
from raglift.records import QAPair
from raglift.serve.probing import is_right
from raglift.synthesis.closed_book import PREFIX

PROBE = read_probe()
COMMON = {
    *("what", "which", "who", "whose", "how", "many", "much", "long", "when", "where", "why"),
    *("in", "of", "on", "at", "from", "to", "with", "is", "are", "was", "were", "does", "do", "did"),
}


def content(question: str) -> frozenset[str]:
    """What a question is about: its words without those that all questions have."""
    return frozenset(normalize_answer(question).split()) - COMMON


def alike(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)


def everything(probe: Probe) -> list[QAPair]:
    return [*probe.questions, *probe.closed_book]


def test_it_is_as_large_as_its_figures_need() -> None:
    assert len(PROBE.passages) >= 45
    assert len(PROBE.questions) >= 120
    assert len(PROBE.closed_book) >= 80
    assert all(60 <= len(passage.text.split()) <= 150 for passage in PROBE.passages)
    asked = [question.evidence[0].document_id for question in PROBE.questions]
    assert all(2 <= asked.count(passage.id) <= 3 for passage in PROBE.passages)
    subjects = [passage.id.partition("-")[0] for passage in PROBE.passages]
    assert {subjects.count(subject) for subject in subjects} == {3}


def test_every_answer_stands_in_its_passage_as_whole_words() -> None:
    text = {passage.id: passage.text for passage in PROBE.passages}
    for question in PROBE.questions:
        (evidence,) = question.evidence
        assert is_right(text[evidence.document_id], question.answers), question
        assert not is_right(question.question, question.answers), question


def test_ids_are_unique_and_references_differ() -> None:
    ids = [item.id for item in (*PROBE.passages, *everything(PROBE))]
    assert len(set(ids)) == len(ids)
    for question in everything(PROBE):
        said = [normalize_answer(answer) for answer in question.answers]
        assert all(said), question
        assert len(set(said)) == len(said), question


def test_no_closed_book_question_gives_its_answer_away() -> None:
    told = [q.id for q in PROBE.closed_book if is_right(q.question, q.answers)]
    assert told == []


def test_no_two_questions_ask_the_same() -> None:
    for left, right in combinations(everything(PROBE), 2):
        assert alike(content(left.question), content(right.question)) < 0.75, (left.question, right.question)


def test_no_two_passages_are_near_duplicates() -> None:
    words = [frozenset(passage.text.lower().split()) for passage in PROBE.passages]
    assert max(alike(left, right) for left, right in combinations(words, 2)) < 0.4


def test_nothing_is_asked_that_the_prompt_shows_already() -> None:
    shown = [line.removeprefix("Question: ") for line in PREFIX.splitlines() if line.startswith("Question: ")]
    assert len(shown) >= 3
    for question in PROBE.closed_book:
        for example in shown:
            # "the capital of" is a pattern that the example shows, not what it asks
            assert alike(content(question.question), content(example)) < 0.75, question
            assert normalize_answer(question.question) != normalize_answer(example)


def test_its_key_changes_with_any_text() -> None:
    first = PROBE.passages[0]
    changed = type(first)(first.id, first.source, first.text + ".")
    assert Probe((changed, *PROBE.passages[1:]), PROBE.questions, PROBE.closed_book).key != PROBE.key
    assert read_probe().key == PROBE.key
