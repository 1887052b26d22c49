"""SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): answers are stretches of one paragraph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from raglift.exchange.features import Feature
from raglift.exchange.files import Pieces
from raglift.exchange.sets import QuestionSet, pair, unnamed_passage
from raglift.exchange.source import Id, Layout, Source
from raglift.records import Document, Evidence, QAPair


class _Answer(Layout):
    text: str
    answer_start: int


class _Question(Layout):
    id: Id
    question: str
    answers: list[_Answer] = Field(default_factory=list)
    is_impossible: bool = False


class _Paragraph(Layout):
    context: str
    qas: list[_Question]


class _Article(Layout):
    title: str = ""
    paragraphs: list[_Paragraph]


class _File(Layout):
    version: str | None = None
    data: list[_Article]


class Squad:
    """One JSON file: articles, their paragraphs, questions with the place of each answer."""

    name = "squad"
    about = "SQuAD 1.1 and 2.0 JSON: extractive answers; written as 2.0 where a question is unanswerable"
    ending = ".json"
    holds: frozenset[Feature] = frozenset(
        {
            "titles",
            "question ids",
            "answers",
            "further answers",
            "spans",
            "questions with nothing",
            "passages without a question",
        }
    )

    def read(self, source: Source) -> QuestionSet:
        """Every paragraph is a passage; its id is made from its title and text."""
        documents: dict[str, Document] = {}
        questions = []
        for i, article in enumerate(source.each(source.json(_File).data)):
            for j, paragraph in enumerate(article.paragraphs):
                document = unnamed_passage(paragraph.context, article.title)
                documents[document.id] = document
                for k, asked in enumerate(paragraph.qas):
                    place: list[str | int] = ["data", i, "paragraphs", j, "qas", k]
                    questions.append(_question(source, place, asked, document))
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """An unanswerable question stands under the first paragraph: the documents do not answer it anywhere."""
        of = {question.id: question.evidence[0].document_id for question in content.questions if question.evidence}
        asked: dict[str, list[QAPair]] = {document.id: [] for document in content.documents}
        nowhere = [question for question in content.questions if question.id not in of]
        for question in content.questions:
            if question.id in of:
                asked[of[question.id]].append(question)
        second = bool(nowhere)
        articles: dict[str, list[dict[str, Any]]] = {}
        for document in content.documents:
            qas = [_written(question, document.text, second) for question in [*asked[document.id], *nowhere]]
            nowhere = []
            articles.setdefault(document.metadata.get("title", ""), []).append({"context": document.text, "qas": qas})
        if nowhere:
            articles[""] = [{"context": "", "qas": [_written(question, "", True) for question in nowhere]}]
        data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles.items()]
        return {"": [json.dumps({"version": "v2.0" if second else "1.1", "data": data}, ensure_ascii=False)]}


def _question(source: Source, place: list[str | int], asked: _Question, document: Document) -> QAPair:
    if asked.is_impossible:
        return pair(asked.id, asked.question, answerable=False)
    if not asked.answers:
        raise source.wrong("has no answer and is not marked is_impossible", place)
    spans = []
    for number, answer in enumerate(asked.answers):
        end = answer.answer_start + len(answer.text)
        if not answer.text:
            raise source.wrong("has no text", [*place, "answers", number])
        if answer.answer_start < 0 or document.text[answer.answer_start : end] != answer.text:
            said = f"says {answer.text!r}, which does not stand at answer_start {answer.answer_start}"
            raise source.wrong(said, [*place, "answers", number])
        spans.append(Evidence(document.id, None, answer.answer_start, end))
    return pair(asked.id, asked.question, [answer.text for answer in asked.answers], spans, answerable=True)


def _written(question: QAPair, text: str, second: bool) -> dict[str, Any]:
    answers = [{"text": text[item.start : item.end], "answer_start": item.start} for item in question.evidence]
    found = {"id": question.id, "question": question.question, "answers": answers}
    return found | ({"is_impossible": not question.answerable} if second else {})


PLUGIN = Squad()
