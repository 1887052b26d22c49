"""The review stage: what a person decided about the synthetic questions, applied to them.

It comes after the synthesis and never changes it: another verdict rebuilds what is made from the questions, and no
question is written anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.job import Job
from raglift.records import QAPair, content_id, write_jsonl
from raglift.synthesis.asking import texts_of
from raglift.synthesis.review_file import SEPARATOR, Row

VERSION = 2
_NAMED = 5
"""Rows that a warning names."""


def rows_for(questions: Iterable[QAPair], text_of: Mapping[str, str], before: Iterable[Row] = ()) -> list[Row]:
    """The rows of a review file.

    Args:
        questions: The synthetic questions, as they were written.
        text_of: Chunk id -> text.
        before: An earlier review, whose decisions are kept.
    """
    decided = {row.id: row for row in before}
    rows = []
    for question in questions:
        old = decided.get(question.id, Row(question.id))
        rows.append(
            replace(
                old,
                question=question.question,
                answer=SEPARATOR.join(question.answers),
                evidence=_evidence(question, text_of).strip(),
                kind=question.kind,
                split=question.split,
            )
        )
    return rows


def _evidence(question: QAPair, text_of: Mapping[str, str]) -> str:
    """The passage that the question was written from, or both where it is about two."""
    own = question.evidence[: texts_of(question.kind)]
    return "\n\n".join(text_of.get(item.chunk_id or "", "") for item in own)


def key_of(rows: Iterable[Row]) -> str:
    """A hash of what was decided; how the file is formatted and what it repeats of the questions is no part of it."""
    return content_id([asdict(row) for row in _decisions(rows)])


def _decisions(rows: Iterable[Row]) -> list[Row]:
    """What was decided and nothing else, in an order that does not depend on the file's."""
    bare = (
        Row(row.id, verdict=row.verdict, new_question=row.new_question, new_answer=row.new_answer, note=row.note)
        for row in rows
    )
    return sorted((row for row in bare if row != Row(row.id)), key=lambda row: row.id)


def check(rows: Sequence[Row], questions: Iterable[QAPair], name: str, warn: Callable[[str], None]) -> None:
    """Say where a review does not fit the questions that it is about.

    Raises:
        UserError: None of its rows is about any of them, or it rejects them all.
    """
    by_id = {question.id: question for question in questions}
    unknown = [row for row in rows if row.id not in by_id]
    if len(unknown) == len(rows):
        raise UserError(
            f"The review file {name} is about none of this run's questions.",
            f"None of its {len(rows)} ids is among the {len(by_id)} questions that were written.",
            "Write a new one with `raglift review RUN --out FILE`, or set synthesis.review to null.",
        )
    if unknown:
        warn(f"{name}: {len(unknown)} of {len(rows)} rows are about questions that this run does not have.")
    rejected = {row.id for row in rows if row.verdict == "reject"}
    if not set(by_id) - rejected:
        raise UserError(
            f"The review file {name} rejects every question.",
            f"All {len(by_id)} of them, so that nothing is left to train on or to score.",
            "Let a better synthesis.model write them, or set synthesis.review to null.",
        )
    answered = [row for row in rows if row.id in by_id and row.new_answer and not by_id[row.id].answerable]
    if answered:
        warn(
            f"{name}: a new_answer of an unanswerable question, on line {_lines(answered)}, has no effect. Reject a "
            "question that the documents answer."
        )
    edited = [row for row in rows if row.id in by_id and _edited(row, by_id[row.id])]
    if edited:
        warn(
            f"{name}: a question, answer, kind or split was changed in place on line {_lines(edited)}. That has no "
            "effect; a correction goes into new_question or new_answer."
        )


def _lines(rows: Sequence[Row]) -> str:
    """Where the first few rows stand."""
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(str(row.line) for row in rows[:_NAMED]) + more


def _edited(row: Row, question: QAPair) -> bool:
    pairs = (
        (row.question, question.question),
        (row.answer, SEPARATOR.join(question.answers)),
        (row.kind, question.kind),
        (row.split, question.split),
    )
    return any(shown and shown.split() != own.split() for shown, own in pairs)


def build(rows: Sequence[Row], questions: Sequence[QAPair], text_of: Mapping[str, str], job: Job) -> None:
    """Write questions.jsonl (`QAPair`) without the rejected and with the corrected, review.jsonl and funnel.json."""
    decisions = _decisions(rows)
    decided = {row.id: row for row in decisions}
    counts: Counter[str] = Counter()
    kept = []
    for question in questions:
        row = decided.pop(question.id, None)
        if row is not None and row.verdict == "reject":
            counts[f"{question.kind} rejected: {row.note or 'no reason given'}"] += 1
            continue
        new = corrected(question, row) if row is not None else question
        if new != question:
            counts["questions corrected"] += 1
            known = " ".join(_evidence(new, text_of).split()).casefold()
            if any(" ".join(answer.split()).casefold() not in known for answer in new.answers):
                counts["corrected answers that do not stand in their passage"] += 1
        else:
            counts["questions accepted" if row is not None and row.verdict else "questions not reviewed"] += 1
        kept.append(new)
    if decided:
        counts["decisions about questions that this run does not have"] += len(decided)
    counts.update(f"questions kept, {question.split}" for question in kept)
    write_jsonl(job.out / "questions.jsonl", kept)
    write_jsonl(job.out / "review.jsonl", decisions)
    funnel = [{"stage": "review", "reason": reason, "count": count} for reason, count in sorted(counts.items())]
    write_json(job.out / "funnel.json", funnel)


def corrected(question: QAPair, row: Row) -> QAPair:
    """The question with the reviewer's words in place of the writer's; the same where there are none."""
    text = row.new_question or question.question
    given = [answer.strip() for answer in row.new_answer.split(SEPARATOR.strip())] if row.new_answer else []
    answers = tuple(dict.fromkeys(answer for answer in given if answer)) or question.answers
    if not question.answerable:
        answers = ()  # no passage would show it, and the model would learn to abstain all the same
    if (text, answers) == (question.question, question.answers):
        return question
    chunk_id = question.evidence[0].chunk_id if question.evidence else None
    identity = content_id(text, answers, chunk_id, question.kind, question.id)
    # A score such as the rank of its passage was the old question's.
    scores = question.scores if text == question.question else {}
    return replace(question, id=identity, question=text, answers=answers, scores=scores)
