"""Human questions, and whole judged sets: BEIR-layout folders, JSON Lines, those of the built-in reference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raglift.corpus import python_reference
from raglift.corpus.documents import document
from raglift.corpus.json_lines import json_lines
from raglift.errors import UserError
from raglift.records import Document


@dataclass(frozen=True, slots=True)
class HumanQuestion:
    """A question that a person wrote, before its evidence is located.

    `sources` maps a document's source to a relevance grade; `quotes` are exact pieces of text that show the answer
    and make the judgement one about passages instead of documents.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    sources: dict[str, int]
    quotes: tuple[str, ...] = ()
    answerable: bool = True


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} cannot be decoded as UTF-8.",
            f"Byte {error.start} is {error.object[error.start]:#04x}.",
            f"Convert it, for example: iconv -f latin1 -t utf-8 '{path}' -o '{path}.utf8'; or take it out.",
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read.", str(error), "Mend its permissions or take it out.") from error


def read_beir(name: str) -> tuple[list[Document], list[HumanQuestion]]:
    """A BEIR-layout folder: `corpus.jsonl`, `queries.jsonl` (with `answers` where there are any), `qrels/*.tsv`.

    `qrels/test.tsv` is taken where there are several. A query without a judgement is left out, as BEIR does, unless it
    says `"answerable": false`.

    Raises:
        UserError: A file is missing or a line is not in the layout.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no folder {name!r}.", "`data.beir` names a folder in BEIR layout.")
    documents = []
    for row in _json_lines(folder / "corpus.jsonl", ("_id", "text")):
        title, text = str(row.get("title") or ""), str(row["text"] or "")
        body = f"{title}\n{text}" if title else text
        if body.strip():
            documents.append(document(str(row["_id"]), body, {"title": title} if title else {}))
    grades = _qrels(folder)
    questions = [
        HumanQuestion(str(row["_id"]), str(row["text"]), _texts(row.get("answers")), grades[str(row["_id"])])
        if grades.get(str(row["_id"]))
        else HumanQuestion(str(row["_id"]), str(row["text"]), (), {}, answerable=False)
        for row in _json_lines(folder / "queries.jsonl", ("_id", "text"))
        if grades.get(str(row["_id"])) or row.get("answerable") is False
    ]
    if not documents:
        raise UserError(f"{folder / 'corpus.jsonl'} holds no text.")
    return documents, questions


def _json_lines(path: Path, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every line's object. All have `keys`, of which the first names the line and is not repeated."""
    try:
        text = _read_text(path)
    except UserError as error:
        if not path.exists():
            raise UserError(f"{path} is missing.", "", "A BEIR set has corpus.jsonl, queries.jsonl, qrels/.") from error
        raise
    seen: set[str] = set()
    for number, _, row in json_lines(text, path):
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise UserError(f"{path}:{number} lacks one of the keys {', '.join(keys)}.")
        identity = str(row[keys[0]])
        if identity in seen:
            raise UserError(f"{path}:{number} repeats the {keys[0]} {identity!r}.", "Every line has one of its own.")
        seen.add(identity)
        yield row


def _qrels(folder: Path) -> dict[str, dict[str, int]]:
    """Query -> passage -> grade, of the lines with a grade above 0, in BEIR's three columns or in TREC's four."""
    files = sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise UserError(f"{folder / 'qrels'} holds no .tsv file.", "", "Put the judgements in qrels/test.tsv.")
    path = folder / "qrels" / "test.tsv" if (folder / "qrels" / "test.tsv") in files else files[0]
    grades: dict[str, dict[str, int]] = {}
    width = 0
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        line = line.rstrip()
        row = line.split("\t") if "\t" in line else line.split()  # beside tabs, a space is a part of an id
        if not row or (number == 1 and row[-1] == "score"):
            continue
        width = width or len(row)
        try:
            if width not in (3, 4) or len(row) != width:
                raise ValueError
            # TREC's second column, the iteration, says nothing.
            query, passage, grade = row[0], row[-2], int(row[-1])
        except ValueError as error:
            raise UserError(
                f"{path}:{number} is not 'query-id<TAB>corpus-id<TAB>score'.",
                line,
                "Give every line these columns, or the four of TREC: 'query-id<TAB>iteration<TAB>corpus-id<TAB>score'.",
            ) from error
        if grade > 0:
            grades.setdefault(query, {})[passage] = grade
    return grades


def read_questions(name: str | None, documents: str | None) -> list[HumanQuestion]:
    """Human questions from a JSON Lines file, or those that come with the built-in reference; none otherwise.

    A line has `id` and `question`; `answer` (a text, a list of texts, or null where the documents do not say);
    `topics` (the documents' sources, a file's path within the folder) and `quotes` (exact text that shows the answer).

    Raises:
        UserError: The file is missing or a line of it is not such a question.
    """
    if name is None:
        if documents != python_reference.NAME:
            return []
        return [_question(json.loads(line)) for line in python_reference.questions()]
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"There is no file {name!r} with human questions.", "`data.questions` names it.")
    return [_question(row) for row in _json_lines(path, ("id", "question"))]


def _question(row: dict[str, Any]) -> HumanQuestion:
    answers = _texts(row.get("answer"))
    sources = dict.fromkeys(_texts(row.get("topics")), 1)
    quotes = _texts(row.get("quotes"))
    return HumanQuestion(
        str(row["id"]),
        str(row["question"]),
        answers,
        sources,
        quotes,
        answerable=bool(answers or sources or quotes),
    )


def _texts(value: object) -> tuple[str, ...]:
    """A JSON value that may be a text, a list of texts, or nothing."""
    if value is None or value == "":
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
