"""From a file of another project to a folder that a run takes its questions from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raglift.exchange.features import ERASERS, reduce
from raglift.exchange.files import JsonLines, load, read, refuse_existing, save
from raglift.exchange.sets import QuestionSet, counted
from raglift.progress import Progress
from raglift.records import Document, Evidence, QAPair

QUESTIONS = "questions.jsonl"
_LONGEST_QUOTE = 300
"""Characters. A quote is found in a chunk that holds half of it: longer ones would be found in none."""
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|[\u3002\uff01\uff1f]|\n|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote: `folder` in BEIR layout, and `questions` for a run over other documents."""

    folder: Path
    questions: Path
    passages: int
    count: int
    unanswerable: int


def import_questions(path: str | Path, format: str, out: str | Path, display: Progress | None = None) -> Imported:
    """Turn a file of another project into what a run reads.

    The folder is in BEIR layout: `data.beir: OUT` makes the file's passages the run's documents. `questions.jsonl` in
    it has the same questions with quotes instead of ids: `data.questions: OUT/questions.jsonl` asks them about your
    own documents, in which the quotes are looked up.

    Args:
        path: The file, or the folder where the format is one.
        format: The format's name; `raglift formats` lists them.
        out: A new folder.

    Raises:
        UserError: The file is not in the format (says on which line), or there is something at `out` already.
    """
    display = display or Progress()
    out = Path(out).expanduser()
    refuse_existing(out)
    content = read(path, format, display)
    beir = load("beir")
    # A run splits people's questions itself, and takes one file of judgements.
    with display.stage("fitting the questions to a run", len(ERASERS), "features") as bar:
        kept, lost = reduce(_for_a_run(content), beir.holds, bar.advance)
    by_id = {document.id: document for document in content.documents}
    lines = JsonLines(content.questions, lambda question: _row(question, by_id))
    save(out, {**beir.files(kept), QUESTIONS: lines}, display)
    for loss in lost:
        display.warn(f"with data.beir a run does not use {loss}.")
    for loss in _not_used(content):
        display.warn(f"a run does not use {loss}.")
    unanswerable = sum(not question.answerable for question in kept.questions)
    return Imported(out, out / QUESTIONS, len(kept.documents), len(kept.questions), unanswerable)


def _for_a_run(content: QuestionSet) -> QuestionSet:
    questions = tuple(replace(q, split="test", origin="human", kind="human") for q in content.questions)
    return replace(content, questions=questions)


def _not_used(content: QuestionSet) -> list[str]:
    lost = []
    nowhere = sum(question.answerable and not question.evidence for question in content.questions)
    if nowhere:
        lost.append(f"{counted(nowhere, 'question')} whose passage the file does not have")
    splits = sum(question.split != "test" for question in content.questions)
    if splits:
        lost.append(f"the split of {counted(splits, 'question')}: it makes its own (data.dev_share)")
    written = sum(question.origin == "synthetic" for question in content.questions)
    if written:
        lost.append(f"the synthetic origin of {counted(written, 'question')}: they judge as if people had written them")
    empty = sum(not document.text.strip() for document in content.documents)
    if empty:
        lost.append(f"{counted(empty, 'passage')} without text")
    return lost


def _row(question: QAPair, by_id: dict[str, Document]) -> dict[str, Any]:
    """A line of `data.questions`; the sources are the passages' ids, for documents under the same names."""
    row: dict[str, Any] = {"id": question.id, "question": question.question, "answer": None}
    if not question.answerable:
        return row
    quotes = [quote for item in question.evidence for quote in quotes_of(by_id[item.document_id].text, item)]
    sources = [by_id[item.document_id].source for item in question.evidence]
    return row | {
        "answer": list(question.answers) or None,
        "topics": list(dict.fromkeys(sources)),
        "quotes": list(dict.fromkeys(quotes)),
    }


def quotes_of(text: str, judged: Evidence) -> list[str]:
    """The sentences of a passage that the judged place touches, put together to quotes of at most 300 characters.

    An answer alone ("at six") stands in many places that do not answer; its sentence most often in one.
    """
    quotes: list[tuple[int, int]] = []
    for match in _SENTENCE.finditer(text):
        if match.end() <= judged.start or match.start() >= judged.end:
            continue
        if quotes and match.end() - quotes[-1][0] <= _LONGEST_QUOTE:
            quotes[-1] = quotes[-1][0], match.end()
        else:
            quotes.append(match.span())
    return [text[start:end].strip() for start, end in quotes if text[start:end].strip()]
