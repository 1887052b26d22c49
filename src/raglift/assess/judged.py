"""Questions with what is relevant to each, from wherever a user has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from raglift.corpus.json_lines import json_lines
from raglift.corpus.judged import HumanQuestion, read_beir
from raglift.errors import UserError
from raglift.exchange.files import read as read_exchanged
from raglift.exchange.importing import quotes_of
from raglift.exchange.sets import QuestionSet
from raglift.records import Chunk, Document, Evidence, Origin, QAPair, content_id

_EXCHANGED = {"context", "contexts", "context_ids", "spans"}
"""Keys that only raglift's exchange format has."""
_JUDGES = ("answer", "answers", "topics", "quotes", "evidence", "answerable")


@dataclass(frozen=True, slots=True)
class Judged:
    """Questions, and how what an engine retrieves is told to be what their evidence names.

    Attributes:
        name: How the set is called in tables.
        chunks: Chunk id -> document id, of the chunks that evidence may name.
        names: A document's id or source -> the id that evidence calls it by.
        texts: Document id -> text, where the corpus is known; then a passage that is in none of them is noticed.
        quotes: (question id, chunk id) -> texts, each of which shows that a passage holds the evidence.
    """

    name: str
    questions: tuple[QAPair, ...]
    chunks: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    quotes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def from_records(
    name: str, questions: Iterable[QAPair], documents: Sequence[Document] = (), chunks: Sequence[Chunk] = ()
) -> Judged:
    """Questions as raglift's records, with the corpus that their evidence is in where it is known.

    A chunk of another splitter counts as one of the evidence's where it holds a sentence of it.
    """
    asked = tuple(questions)
    by_id = {document.id: document for document in documents}
    evidence = [(question, item) for question in asked for item in question.evidence]
    homes = {item.chunk_id: item.document_id for _, item in evidence if item.chunk_id is not None}
    names = {item.document_id: item.document_id for _, item in evidence}
    quotes = {
        (question.id, item.chunk_id): tuple(quotes_of(by_id[item.document_id].text, item))
        for question, item in evidence
        if item.chunk_id is not None and item.document_id in by_id and item.end > item.start
    }
    names |= {document.source: document.id for document in documents} | {each: each for each in by_id}
    texts = {document.id: document.text for document in documents}
    known = {chunk.id: chunk.document_id for chunk in chunks}
    return Judged(name, _distinct(asked), homes | known, names, texts, quotes)


def from_human(name: str, questions: Iterable[HumanQuestion], documents: Sequence[Document] = ()) -> Judged:
    """Questions that name documents, or quote them; a quote stands for a passage, whichever document it is in."""
    pairs: list[QAPair] = []
    quotes: dict[tuple[str, str], tuple[str, ...]] = {}
    for question in questions:
        home = next(iter(question.sources), "")
        evidence = [Evidence(source, None, 0, 0, grade) for source, grade in question.sources.items()]
        if question.quotes:
            found = {f"quote {content_id(quote)}": quote for quote in question.quotes}
            evidence = [Evidence(home or unit, unit, 0, len(quote)) for unit, quote in found.items()]
            quotes |= {(question.id, unit): (quote,) for unit, quote in found.items()}
        asked, answers = question.question, question.answers
        pairs.append(
            QAPair(question.id, asked, answers, tuple(evidence), "human", "test", "human", question.answerable)
        )
    found_all = from_records(name, pairs)
    names = {**found_all.names, **{document.id: document.source for document in documents}}
    names |= {document.source: document.source for document in documents}
    texts = {document.source: document.text for document in documents}
    return Judged(name, found_all.questions, found_all.chunks, names, texts, quotes)


def from_rows(name: str, rows: Iterable[Mapping[str, Any] | QAPair]) -> Judged:
    """Questions as dictionaries: the keys of `data.questions`' lines, or those of a `QAPair`.

    Raises:
        UserError: A row is no question, or says nothing that an answer or a ranking could be judged by.
    """
    found = [row if isinstance(row, QAPair) else _row(row, f"{name}, question {i}") for i, row in enumerate(rows, 1)]
    return _of_one_kind(name, found)


def from_path(path: Path) -> Judged:
    """Questions in a JSON Lines file, or a folder in BEIR layout with its corpus.

    A line is one of `data.questions`, a `QAPair`, or one of the exchange format `jsonl`.

    Raises:
        UserError: There is nothing there, or a line is no question (says which).
    """
    if path.is_dir():
        documents, questions = read_beir(str(path))
        return from_human(path.resolve().name, questions, documents)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The questions {path} cannot be read.", str(error), "Name a JSON Lines file in UTF-8, or a BEIR folder."
        ) from error
    rows = [(number, row) for number, _, row in json_lines(text, path)]
    if any(isinstance(row, dict) and _EXCHANGED & row.keys() for _, row in rows):
        return from_set(path.stem, read_exchanged(path, "jsonl"))
    found = [_row(row, f"{path}:{number}") for number, row in rows]
    return _of_one_kind(path.stem, found)


def _of_one_kind(name: str, rows: Sequence[QAPair | HumanQuestion]) -> Judged:
    human = [row for row in rows if isinstance(row, HumanQuestion)]
    pairs = [row for row in rows if isinstance(row, QAPair)]
    if human and pairs:
        raise UserError(
            f"The questions of {name} name their evidence in two ways.",
            f"{len(pairs)} have `evidence`, {len(human)} have not.",
            "Give all of them with `evidence`, as a QAPair has it, or all with `topics` and `quotes`.",
        )
    return from_human(name, human) if human else from_records(name, pairs)


def from_set(name: str, content: QuestionSet) -> Judged:
    """What `raglift.exchange.read` gave."""
    return from_records(name, content.questions, content.documents, content.chunks)


def _distinct(questions: tuple[QAPair, ...]) -> tuple[QAPair, ...]:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UserError(
                f"Two questions have the id {question.id!r}.",
                "Answers are told apart by it.",
                "Give every question an id of its own, or none.",
            )
        seen.add(question.id)
    if not questions:
        raise UserError("There is no question.", "Nothing can be scored.", "Give at least one; scores need many.")
    return questions


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", arbitrary_types_allowed=True)

    question: str
    id: str | int | None = None
    answer: str | list[str] | None = None
    answers: list[str] | tuple[str, ...] | None = None
    topics: str | list[str] | None = None
    quotes: str | list[str] | None = None
    evidence: list[dict[str, Any]] | tuple[dict[str, Any], ...] | None = None
    answerable: bool | None = None
    kind: str = "human"
    origin: Origin = "human"


def _row(row: object, where: str) -> QAPair | HumanQuestion:
    try:
        found = _Row.model_validate(row)
        evidence = tuple(Evidence(**item) for item in found.evidence or ())
    except (ValidationError, TypeError) as error:
        why = str(error) if isinstance(error, TypeError) else _first_problem(error)
        raise UserError(f"{where} is no question.", why, "A question has `question` and, say, `answer`.") from error
    given = found.model_fields_set & set(_JUDGES)
    if not found.question.strip() or not given:
        raise UserError(
            f"{where} cannot be judged." if given else f"{where} says nothing to judge by.",
            "Its question is empty." if given else "It has none of " + ", ".join(_JUDGES) + ".",
            'Add `answer`, `topics` or `quotes`; "answer": null says that the documents do not answer it.',
        )
    identity = content_id(found.question) if found.id is None else str(found.id)
    answers = tuple(text for text in [*_texts(found.answer), *(found.answers or ())] if text.strip())
    topics, quotes = _texts(found.topics), _texts(found.quotes)
    answerable = found.answerable
    if answerable is None:
        answerable = bool(answers or topics or quotes or evidence)
    if found.evidence is not None:
        return QAPair(identity, found.question, answers, evidence, found.kind, "test", found.origin, answerable)
    return HumanQuestion(identity, found.question, answers, dict.fromkeys(topics, 1), tuple(quotes), answerable)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"][:1]))
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


def _texts(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value or ())
