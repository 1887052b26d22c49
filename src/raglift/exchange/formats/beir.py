"""BEIR (Thakur et al. 2021): a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import Field

from raglift.errors import UserError
from raglift.exchange.features import Feature
from raglift.exchange.files import JsonLines, Pieces, json_text
from raglift.exchange.sets import QuestionSet, pair, passage, whole
from raglift.exchange.source import Id, Layout, Source
from raglift.records import Document, Evidence, QAPair, Split

_HEADER = "query-id\tcorpus-id\tscore\n"


class _Passage(Layout):
    id: Id = Field(alias="_id")
    text: str
    title: str | None = None
    metadata: dict[str, Any] | None = None


class _About(Layout):
    kind: str | None = None
    split: Split | None = None
    origin: str | None = None


class _Query(Layout):
    id: Id = Field(alias="_id")
    text: str
    answers: str | list[str] | None = None
    answerable: bool = True
    metadata: _About | None = None


class Beir:
    """Passages, queries and graded judgements; `answers` and `answerable` of a query are raglift's additions."""

    name = "beir"
    about = "a folder in BEIR layout, which `data.beir` and `raglift evaluate --data` read; judgements by split"
    ending = ""
    holds: frozenset[Feature] = frozenset(
        {
            "metadata",
            "titles",
            "passage ids",
            "question ids",
            "answers",
            "further answers",
            "answers not in a passage",
            "judgements beyond the answer",
            "kinds",
            "splits",
            "origins",
            "grades",
            "questions with nothing",
            "passages without a question",
        }
    )

    def read(self, source: Source) -> QuestionSet:
        """All splits; the title is put before the text, as in a run."""
        documents: dict[str, Document] = {}
        for number, row in source.lines(_Passage, "corpus.jsonl"):
            if row.id in documents:
                raise source.wrong_line(f"it repeats the _id {row.id!r}", number, "corpus.jsonl")
            metadata = {k: v if isinstance(v, str) else json_text(v) for k, v in (row.metadata or {}).items()}
            text = f"{row.title}\n{row.text}" if row.title else row.text
            documents[row.id] = passage(row.id, text, metadata | ({"title": row.title} if row.title else {}))
        queries: dict[str, _Query] = {}
        for number, query in source.lines(_Query, "queries.jsonl"):
            if query.id in queries:
                raise source.wrong_line(f"it repeats the _id {query.id!r}", number, "queries.jsonl")
            queries[query.id] = query
        judged, split = _judgements(source, documents, queries)
        questions = [_question(query, judged.get(name, []), split.get(name)) for name, query in queries.items()]
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """The judgements of a split stand in a file of its name.

        Raises:
            UserError: An id cannot stand in a table with tabs between the columns.
        """
        source = {document.id: document.source for document in content.documents}
        for name in (*source.values(), *(question.id for question in content.questions)):
            if re.search(r"[\t\r\n]", name):
                raise UserError(
                    f"The id {name!r} cannot stand in qrels.", "Its columns are separated by tabs.", "Rename it."
                )
        found: dict[str, Pieces] = {
            "corpus.jsonl": JsonLines(content.documents, _corpus_row),
            "queries.jsonl": JsonLines(content.questions, _query_row),
        }
        for split in get_args(Split):
            rows = [
                f"{question.id}\t{source[item.document_id]}\t{item.grade}\n"
                for question in content.questions
                for item in question.evidence
                if question.split == split
            ]
            if rows or split == "test":  # a set is looked for there
                found[f"qrels/{split}.tsv"] = [_HEADER, *rows]
        return found


def _judgements(
    source: Source, documents: Mapping[str, Document], queries: Mapping[str, _Query]
) -> tuple[dict[str, list[Evidence]], dict[str, Split]]:
    """Query -> what is relevant to it, and the split whose file says so first."""
    files = sorted(path.name for path in (source.path / "qrels").glob("*.tsv"))
    if not files:
        raise UserError(f"{source.path / 'qrels'} holds no .tsv file.", "", "Put the judgements in qrels/test.tsv.")
    judged: dict[str, list[Evidence]] = {}
    split: dict[str, Split] = {}
    for name in files:
        stem = name.removesuffix(".tsv")
        of: Split = "train" if stem == "train" else "dev" if stem in ("dev", "val", "validation") else "test"
        for number, line in enumerate(source.text(f"qrels/{name}").split("\n"), 1):
            line = line.rstrip()
            row = line.split("\t") if "\t" in line else line.split()
            if not row or (number == 1 and row[-1] == "score"):
                continue
            file = f"qrels/{name}"
            if len(row) not in (3, 4) or not re.fullmatch("-?[0-9]{1,9}", row[-1]):
                raise source.wrong_line("it must be 'query-id<TAB>corpus-id<TAB>score'", number, file)
            query, node, grade = row[0], row[-2], int(row[-1])
            if query not in queries or node not in documents:  # as in some of the published sets
                source.unheld["judgements about what queries.jsonl or corpus.jsonl lacks"] += 1
                continue
            if grade <= 0:
                source.unheld["judgements of 0 or less"] += 1
                continue
            split.setdefault(query, of)
            judged.setdefault(query, []).append(whole(documents[node], grade))
    return judged, split


def _question(query: _Query, evidence: list[Evidence], split: Split | None) -> QAPair:
    answers = [query.answers] if isinstance(query.answers, str) else query.answers or []
    about = query.metadata or _About()
    return pair(
        query.id,
        query.text,
        answers,
        evidence,
        query.answerable,
        about.kind,
        split or about.split or "test",
        "synthetic" if about.origin == "synthetic" else "human",
    )


def _corpus_row(document: Document) -> dict[str, Any]:
    """The title apart where the text begins with it, as a run's documents do that were read from such a set."""
    title = document.metadata.get("title", "")
    if not title or not document.text.startswith(f"{title}\n"):
        return {"_id": document.source, "title": "", "text": document.text, "metadata": document.metadata}
    metadata = {name: value for name, value in document.metadata.items() if name != "title"}
    text = document.text[len(title) + 1 :]
    return {"_id": document.source, "title": title, "text": text, "metadata": metadata}


def _query_row(question: QAPair) -> dict[str, Any]:
    row: dict[str, Any] = {"_id": question.id, "text": question.question, "answers": question.answers}
    if not question.answerable:
        row["answerable"] = False
    return row | {"metadata": {"kind": question.kind, "split": question.split, "origin": question.origin}}


PLUGIN = Beir()
