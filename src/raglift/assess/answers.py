"""Answers and rankings made elsewhere, from a JSON Lines file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raglift.assess.replies import MOST_TOKENS, Arm, Passage, Reply
from raglift.corpus.json_lines import json_lines
from raglift.errors import UserError
from raglift.progress import Progress
from raglift.records import QAPair

_SHAPE = 'A line is {"id": "q1", "answer": "...", "passages": ["..."], "documents": ["a.md"], "arm": "mine"}.'


class _Passage(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    text: str = ""
    id: str | int | None = None
    document: str | int | None = None
    score: float | None = None


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    id: str | int
    answer: str | None = None
    passages: list[str | _Passage] | None = None
    documents: list[str | int] | None = None
    arm: str | None = None
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    tokens_in: int | None = Field(default=None, ge=0, le=MOST_TOKENS)
    tokens_out: int | None = Field(default=None, ge=0, le=MOST_TOKENS)
    error: str = ""


def read_answers(path: Path, questions: Sequence[QAPair], display: Progress) -> list[Arm]:
    """The arms of a file: what each answered and retrieved, by question id.

    A line has the question's `id`, and `answer`, `passages` (texts, or objects with `text`, `id`, `document`, `score`)
    or `documents` (ids or sources), best first. `arm` names the system (the file's name by default), `seconds` says
    how long it took, `tokens_in` and `tokens_out` what was read and written, `error` why there is no answer.

    Raises:
        UserError: The file cannot be read, a line is no answer (says which), or none is to one of the questions.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The answers {path} cannot be read.", str(error), "Name a JSON Lines file in UTF-8."
        ) from error
    rows = ((f"{path}:{number}", row) for number, _, row in json_lines(text, path))
    return arms_of_rows(rows, questions, path.stem, display)


def arms_of_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], questions: Sequence[QAPair], default: str, display: Progress
) -> list[Arm]:
    """The arms of (where, row), in the order of their first row; see `read_answers`.

    Args:
        default: The arm of rows that name none.

    Raises:
        UserError: As `read_answers`.
    """
    known = {question.id for question in questions}
    found: dict[str, dict[str, _Row]] = {}
    strangers: list[str] = []
    for where, row in rows:
        line = _parse(where, row)
        qa_id, name = str(line.id), line.arm or default
        if qa_id in found.setdefault(name, {}):
            raise UserError(f"{where} answers {qa_id!r} a second time.", f"The arm is {name!r}.", "Keep one of them.")
        if qa_id in known:
            found[name][qa_id] = line
        else:
            strangers.append(qa_id)
    arms = [_arm(name, replies) for name, replies in found.items() if replies]
    if not arms:
        raise UserError(
            "None of the answers is to one of the questions.",
            f"Ids of answers: {_some(strangers)}. Ids of questions: {_some(sorted(known))}.",
            "Give the answers the ids that the questions have.",
        )
    if strangers:
        display.warn(f"{len(strangers)} answers are to none of the questions ({_some(strangers)}); they are left out.")
    for arm in arms:
        if len(arm.replies) < len(known):
            display.warn(f"{arm.name} has no line for {len(known) - len(arm.replies)} of {len(known)} questions.")
    return arms


def _parse(where: str, row: object) -> _Row:
    try:
        return _Row.model_validate(row)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(f"{where} is no answer.", f"{place}: {problem['msg']}".removeprefix(": "), _SHAPE) from error


def _arm(name: str, rows: Mapping[str, _Row]) -> Arm:
    ranked = any(row.passages is not None or row.documents is not None for row in rows.values())
    answered = any(row.answer is not None for row in rows.values())
    return Arm(name, {qa_id: _reply(row) for qa_id, row in rows.items()}, ranked, answered or not ranked)


def _reply(row: _Row) -> Reply:
    if row.error:
        return Reply(None, None, row.seconds, row.error)
    passages: list[Passage] | None = None
    if row.passages is not None:
        passages = [Passage(p) if isinstance(p, str) else _passage(p) for p in row.passages]
    elif row.documents is not None:
        passages = [Passage("", (str(document),)) for document in row.documents]
    ranked = None if passages is None else tuple(passages)
    return Reply(row.answer, ranked, row.seconds, "", row.tokens_in, row.tokens_out)


def _passage(given: _Passage) -> Passage:
    names = tuple(str(name) for name in (given.id, given.document) if name is not None)
    return Passage(given.text, names, given.score)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")
