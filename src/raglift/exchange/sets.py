"""A question set: what every format is read into and written from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from raglift.errors import UserError
from raglift.records import Chunk, Document, Evidence, Origin, QAPair, Split, content_id

Passages = Literal["auto", "chunks", "documents"]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with the passages that they are judged by.

    A set that was read from a file has no chunks: its passages are documents whose `source` is the passage's id.
    """

    documents: tuple[Document, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    questions: tuple[QAPair, ...] = ()


def passage(source: str, text: str, metadata: dict[str, str] | None = None) -> Document:
    """A passage under the id that its file gives it."""
    return Document(content_id(source, text), source, text, metadata or {})


def unnamed_passage(text: str, title: str = "") -> Document:
    """A passage whose file gives it no id: the id is made from its text, so equal passages become one."""
    return passage(content_id(title, text), text, {"title": title} if title else {})


def whole(document: Document, grade: int = 1) -> Evidence:
    """The judgement that the whole of a passage is relevant."""
    return Evidence(document.id, None, 0, len(document.text), grade)


def pair(
    identity: str,
    question: str,
    answers: Sequence[str | None] = (),
    evidence: Iterable[Evidence] = (),
    answerable: bool | None = None,
    kind: str | None = None,
    split: Split = "test",
    origin: Origin = "human",
    scores: dict[str, float] | None = None,
) -> QAPair:
    """A question as a file has it.

    Args:
        identity: Its id; "" where the file gives none (`numbered` makes one).
        answerable: None where the file does not say: then it is not where it has neither an answer nor a passage.
        kind: None where the file does not say: then it is the origin.
    """
    given = tuple(dict.fromkeys(answer for answer in answers if answer))
    found = tuple(dict.fromkeys(evidence))
    if answerable is None:
        answerable = bool(given or found)
    return QAPair(identity, question, given, found, kind or origin, split, origin, answerable, scores or {})


def numbered(questions: Iterable[QAPair]) -> tuple[QAPair, ...]:
    """The questions, those without an id under one that is made from their text, which may repeat."""
    seen: Counter[str] = Counter()
    found = []
    for question in questions:
        if not question.id:
            seen[question.question] += 1
            question = replace(question, id=content_id(question.question, seen[question.question]))
        found.append(question)
    return tuple(found)


def as_passages(content: QuestionSet, by: Passages = "auto") -> tuple[QuestionSet, list[str]]:
    """The set with its passages as documents, which is all that the formats know, and what that loses.

    Args:
        by: "chunks" makes every chunk a passage, "documents" every document. "auto" takes the chunks where there are
            any and every judgement is about one, so that no question is left out.

    Raises:
        UserError: A judgement is about a document where `by` asks for chunks, or is about something that is not in the
            set; two passages or two questions have one id.
    """
    judged = [(question, item) for question in content.questions for item in question.evidence]
    by_document = next((question for question, item in judged if item.chunk_id is None), None)
    if by == "chunks" and by_document is not None:
        raise UserError(
            f"The question {by_document.id!r} is judged by document, not by chunk.",
            "Which chunk of the document holds its answer is not known.",
            "Take the documents as passages, or leave such questions out (those of one origin: --origin synthetic).",
        )
    take_chunks = bool(content.chunks) and by != "documents" and by_document is None
    found, lost = _chunks(content) if take_chunks else _documents(content)
    _check_ids("passage", [document.source for document in found.documents])
    _check_ids("question", [question.id for question in found.questions])
    grouped = sum(bool(document.group) for document in content.documents)
    if grouped:
        lost.append(f"the splits and near-duplicate groups of {counted(grouped, 'document')}")
    return found, lost


def counted(count: int, noun: str) -> str:
    """Such as `1 passage` or `2 passages`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _chunks(content: QuestionSet) -> tuple[QuestionSet, list[str]]:
    title = {document.id: document.metadata.get("title") or document.source for document in content.documents}
    place: dict[str, tuple[Document, int]] = {}
    for chunk in content.chunks:
        named = {"title": title[chunk.document_id]} if chunk.document_id in title else {}
        place[chunk.id] = passage(chunk.id, chunk.text, named), chunk.start

    def moved(question: QAPair) -> QAPair:
        found = []
        for item in question.evidence:
            if item.chunk_id not in place:
                raise _unknown(question, f"the chunk {item.chunk_id!r}")
            document, begin = place[item.chunk_id]
            found.append(_clipped(document, item.start - begin, item.end - begin, item.grade, item.end > item.start))
        return _tidy(question, found)

    documents = tuple(document for document, _ in place.values())
    lost = [f"where {counted(len(documents), 'passage')} stand in their documents"] if documents else []
    return QuestionSet(documents, (), tuple(map(moved, content.questions))), lost


def _documents(content: QuestionSet) -> tuple[QuestionSet, list[str]]:
    renewed = {
        document.id: passage(document.source, document.text, document.metadata) for document in content.documents
    }

    def moved(question: QAPair) -> QAPair:
        found = []
        for item in question.evidence:
            if item.document_id not in renewed:
                raise _unknown(question, f"the document {item.document_id!r}")
            document = renewed[item.document_id]
            found.append(_clipped(document, item.start, item.end, item.grade, item.end > item.start))
        return _tidy(question, found)

    lost = [f"how the documents are cut into {counted(len(content.chunks), 'chunk')}"] if content.chunks else []
    return QuestionSet(tuple(renewed.values()), (), tuple(map(moved, content.questions))), lost


def _clipped(document: Document, start: int, end: int, grade: int, spanned: bool) -> Evidence:
    start, end = max(0, start), min(end, len(document.text))
    return Evidence(document.id, None, start, end, grade) if spanned and end > start else whole(document, grade)


def _tidy(question: QAPair, evidence: list[Evidence]) -> QAPair:
    answers = tuple(dict.fromkeys(answer for answer in question.answers if answer))
    return replace(question, answers=answers, evidence=tuple(dict.fromkeys(evidence)))


def _unknown(question: QAPair, what: str) -> UserError:
    return UserError(f"The question {question.id!r} is about {what}, which is not in the set.")


def _check_ids(noun: str, ids: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"Two {noun}s have the id {twice!r}.", "Formats tell them apart by it.", "Rename one of them.")
