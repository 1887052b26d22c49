"""What a question set may hold and a format may not, each with the way to take it out of a set.

A format names what it holds. Everything else is taken out before the set is written, and said: so what is read back
equals what was written, and nothing is lost without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from raglift.exchange.sets import QuestionSet, counted, numbered, unnamed_passage, whole
from raglift.records import Document, Evidence, QAPair

Feature = Literal[
    "metadata",
    "titles",
    "passage ids",
    "answers",
    "further answers",
    "kinds",
    "splits",
    "origins",
    "scores",
    "grades",
    "spans",
    "answers not in a passage",
    "judgements beyond the answer",
    "passages of unanswerable questions",
    "questions with nothing",
    "question ids",
    "passages without a question",
]


@dataclass(frozen=True, slots=True)
class Eraser:
    """Takes a feature out of a set.

    Attributes:
        said: What the `n` things that changed have lost.
        erase: Gives the set without it and `n`, 0 where it was not there.
    """

    said: Callable[[int], str]
    erase: Callable[[QuestionSet], tuple[QuestionSet, int]]


def reduce(
    content: QuestionSet, holds: Collection[Feature], advance: Callable[[float], None] = lambda _: None
) -> tuple[QuestionSet, list[str]]:
    """What of a set of passages (`as_passages`) a format can hold, and what of it is lost.

    Args:
        advance: Told how many more features are seen to.
    """
    lost = []
    for feature, eraser in ERASERS.items():
        if feature not in holds:
            content, changed = eraser.erase(content)
            if changed:
                lost.append(eraser.said(changed))
        advance(1)
    return content, lost


def unheld(holds: Collection[Feature]) -> list[Feature]:
    """The features that a format does not hold."""
    return [feature for feature in get_args(Feature) if feature not in holds]


def _each_question(change: Callable[[QAPair], QAPair | None]) -> Callable[[QuestionSet], tuple[QuestionSet, int]]:
    """Changes each question by itself; None drops it."""

    def erase(content: QuestionSet) -> tuple[QuestionSet, int]:
        changed = [(question, change(question)) for question in content.questions]
        kept = tuple(new for _, new in changed if new is not None)
        return replace(content, questions=kept), sum(old != new for old, new in changed)

    return erase


def _each_passage(change: Callable[[Document], Document]) -> Callable[[QuestionSet], tuple[QuestionSet, int]]:
    """Changes each passage by itself; those that become equal become one."""

    def erase(content: QuestionSet) -> tuple[QuestionSet, int]:
        new = {document.id: change(document) for document in content.documents}
        moved = tuple(
            replace(
                question,
                evidence=tuple(
                    dict.fromkeys(replace(item, document_id=new[item.document_id].id) for item in question.evidence)
                ),
            )
            for question in content.questions
        )
        documents = tuple({document.id: document for document in new.values()}.values())
        return QuestionSet(documents, (), moved), sum(new[d.id] != d for d in content.documents)

    return erase


def _titled(document: Document) -> Document:
    return replace(document, metadata={k: v for k, v in document.metadata.items() if k == "title" and v})


def _without_spans(content: QuestionSet) -> tuple[QuestionSet, int]:
    by_id = {document.id: document for document in content.documents}

    def change(question: QAPair) -> QAPair:
        grades: dict[str, int] = {}
        for item in question.evidence:
            grades[item.document_id] = max(item.grade, grades.get(item.document_id, item.grade))
        return replace(question, evidence=tuple(whole(by_id[name], grade) for name, grade in grades.items()))

    return _each_question(change)(content)


def _stretches(question: QAPair, text: Mapping[str, str]) -> list[Evidence]:
    """Where the answers stand, all in the first judged passage that holds one of them; nothing where none does."""
    order = {item: number for number, item in enumerate(question.evidence)}
    for name in dict.fromkeys(item.document_id for item in question.evidence):
        own = [item for item in question.evidence if item.document_id == name]
        found = [place for answer in question.answers for place in _places(own, text[name], answer)]
        if found:
            # In the order of the judgements where those are the answers themselves, as in a set that was read.
            return sorted(dict.fromkeys(found), key=lambda place: order.get(place, len(order)))
    return []


def _places(judged: Sequence[Evidence], text: str, answer: str) -> list[Evidence]:
    """The judged places that are the answer, else its first occurrence in a judged place, else in the passage."""
    exact = [item for item in judged if text[item.start : item.end] == answer]
    if exact:
        return exact
    inside = (text.find(answer, item.start, item.end) for item in judged)
    at = next((place for place in inside if place >= 0), text.find(answer))
    return [replace(judged[0], start=at, end=at + len(answer))] if at >= 0 else []


def _without_free_answers(content: QuestionSet) -> tuple[QuestionSet, int]:
    text = {document.id: document.text for document in content.documents}
    return _each_question(lambda q: q if not q.answerable or _stretches(q, text) else None)(content)


def _answer_only(content: QuestionSet) -> tuple[QuestionSet, int]:
    text = {document.id: document.text for document in content.documents}

    def change(question: QAPair) -> QAPair:
        if not question.answerable:
            return question
        found = _stretches(question, text)
        answers = dict.fromkeys(text[place.document_id][place.start : place.end] for place in found)
        return replace(question, answers=tuple(answers), evidence=tuple(found))

    return _each_question(change)(content)


def _without_ids(content: QuestionSet) -> tuple[QuestionSet, int]:
    renamed = numbered(replace(question, id="") for question in content.questions)
    changed = sum(old != new for old, new in zip(content.questions, renamed, strict=True))
    return replace(content, questions=renamed), changed


def _judged_only(content: QuestionSet) -> tuple[QuestionSet, int]:
    used = dict.fromkeys(item.document_id for question in content.questions for item in question.evidence)
    by_id = {document.id: document for document in content.documents}
    documents = tuple(by_id[name] for name in used)  # in the order in which a file of questions shows them
    return replace(content, documents=documents), len(content.documents) - len(documents)


def _said(thing: str, noun: str = "question") -> Callable[[int], str]:
    return lambda n: f"{thing} of {counted(n, noun)}"


def _dropped(noun: str, why: str) -> Callable[[int], str]:
    return lambda n: f"{counted(n, noun)} {why}"


ERASERS: dict[Feature, Eraser] = {
    "metadata": Eraser(_said("the metadata", "passage"), _each_passage(_titled)),
    "titles": Eraser(_said("the title", "passage"), _each_passage(lambda d: replace(d, metadata={}))),
    "passage ids": Eraser(
        _said("the id", "passage"),
        _each_passage(lambda d: unnamed_passage(d.text, d.metadata.get("title", ""))),
    ),
    "answers": Eraser(_said("the answers"), _each_question(lambda q: replace(q, answers=()))),
    "further answers": Eraser(
        _said("all answers but the first"), _each_question(lambda q: replace(q, answers=q.answers[:1]))
    ),
    "origins": Eraser(_said("the origin (synthetic)"), _each_question(lambda q: replace(q, origin="human"))),
    "kinds": Eraser(_said("the kind"), _each_question(lambda q: replace(q, kind=q.origin))),
    "splits": Eraser(_said("the split (train or dev)"), _each_question(lambda q: replace(q, split="test"))),
    "scores": Eraser(_said("the scores"), _each_question(lambda q: replace(q, scores={}))),
    "grades": Eraser(
        _said("the relevance grades"),
        _each_question(
            lambda q: replace(q, evidence=tuple(dict.fromkeys(replace(item, grade=1) for item in q.evidence)))
        ),
    ),
    "spans": Eraser(_said("the evidence's place within the passage"), _without_spans),
    "answers not in a passage": Eraser(
        _dropped("question", "(left out) without an answer that stands in a passage"), _without_free_answers
    ),
    "judgements beyond the answer": Eraser(
        _said("what shows the answers beyond their own words in one passage,"), _answer_only
    ),
    "passages of unanswerable questions": Eraser(
        _said("what stands beside the unanswerable"),
        _each_question(lambda q: q if q.answerable else replace(q, answers=(), evidence=())),
    ),
    "questions with nothing": Eraser(
        _dropped("question", "(left out) with neither an answer nor a passage"),
        _each_question(lambda q: q if q.answers or q.evidence or not q.answerable else None),
    ),
    "question ids": Eraser(_said("the id"), _without_ids),
    "passages without a question": Eraser(_dropped("passage", "about which there is no question"), _judged_only),
}
"""In the order in which they are taken out: a later one may depend on what an earlier one leaves."""
