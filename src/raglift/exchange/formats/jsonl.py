"""Plain JSON Lines: one question a line with its passages beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raglift.exchange.features import Feature
from raglift.exchange.files import JsonLines, Pieces
from raglift.exchange.sets import QuestionSet, pair, passage, unnamed_passage, whole
from raglift.exchange.source import Id, Layout, Source
from raglift.records import Document, Evidence, Origin, QAPair, Split


class _Line(Layout):
    question: str
    id: Id = ""
    answers: list[str] | None = None
    answer: str | list[str] | None = None
    contexts: list[str] | None = None
    context: str | list[str] | None = None
    context_ids: list[Id] | None = None
    spans: list[list[int]] | None = None
    grades: list[int] | None = None
    answerable: bool | None = None
    kind: str | None = None
    split: Split = "test"
    origin: Origin = "human"
    scores: dict[str, float] | None = None


class PlainLines:
    """`question`, and where there are any `id`, `answers` or `answer`, `contexts` or `context`, and the rest."""

    name = "jsonl"
    about = "plain JSON Lines: question, answers, contexts on one line; for pandas, datasets and your own scripts"
    ending = ".jsonl"
    holds: frozenset[Feature] = frozenset(
        {
            "passage ids",
            "question ids",
            "answers",
            "further answers",
            "answers not in a passage",
            "judgements beyond the answer",
            "kinds",
            "splits",
            "origins",
            "scores",
            "grades",
            "spans",
            "passages of unanswerable questions",
            "questions with nothing",
        }
    )

    def read(self, source: Source) -> QuestionSet:
        """Only `question` is needed on a line."""
        documents: dict[str, Document] = {}
        questions = []
        for number, line in source.lines(_Line):
            evidence = []
            for document, item in _evidence(source, number, line):
                if documents.setdefault(document.source, document) != document:
                    raise source.wrong_line(f"the context {document.source!r} has another text above", number)
                evidence.append(item)
            questions.append(
                pair(
                    line.id,
                    line.question,
                    _either(source, number, "answer", line.answers, line.answer),
                    evidence,
                    line.answerable,
                    line.kind,
                    line.split,
                    line.origin,
                    line.scores,
                )
            )
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """`contexts`, `context_ids`, `spans` (characters, end not included) and `grades` run in parallel."""
        by_id = {document.id: document for document in content.documents}
        return {"": JsonLines(content.questions, lambda question: _line(question, by_id))}


def _evidence(source: Source, number: int, line: _Line) -> Iterable[tuple[Document, Evidence]]:
    texts = _either(source, number, "context", line.contexts, line.context)
    for name in ("context_ids", "spans", "grades"):
        given = getattr(line, name)
        if given is not None and len(given) != len(texts):
            raise source.wrong_line(f"{name} has {len(given)} items for {len(texts)} contexts", number)
    for place, text in enumerate(texts):
        document = passage(line.context_ids[place], text) if line.context_ids else unnamed_passage(text)
        item = whole(document, line.grades[place] if line.grades else 1)
        if line.spans:
            span = line.spans[place]
            if len(span) != 2 or not 0 <= span[0] <= span[1] <= len(text):
                raise source.wrong_line(f"spans[{place}] is {span}, not two places within the context", number)
            item = Evidence(document.id, None, span[0], span[1], item.grade)
        yield document, item


def _either(
    source: Source, number: int, name: str, several: list[str] | None, one: str | list[str] | None
) -> Sequence[str]:
    if several is not None and one is not None:
        raise source.wrong_line(f"it has both {name} and {name}s", number)
    given = one if several is None else several
    return [given] if isinstance(given, str) else given or []


def _line(question: QAPair, by_id: Mapping[str, Document]) -> dict[str, Any]:
    passages = [by_id[item.document_id] for item in question.evidence]
    return {
        "id": question.id,
        "question": question.question,
        "answers": question.answers,
        "answerable": question.answerable,
        "contexts": [document.text for document in passages],
        "context_ids": [document.source for document in passages],
        "spans": [[item.start, item.end] for item in question.evidence],
        "grades": [item.grade for item in question.evidence],
        "kind": question.kind,
        "split": question.split,
        "origin": question.origin,
        "scores": question.scores,
    }


PLUGIN = PlainLines()
