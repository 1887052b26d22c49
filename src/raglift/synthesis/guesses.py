"""Asking the writer each question without its passage, for the `closed_book` filter.

A finished batch, or a remote writer's reply, is in the stage's journal before the next begins, as what is written is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raglift.artifacts import WORK
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.generation import Generator, Sampling
from raglift.progress import Progress
from raglift.records import content_id
from raglift.synthesis.accepting import Rules
from raglift.synthesis.candidate import Accepted, Candidate, QuestionFilter
from raglift.synthesis.closed_book import PREFIX, guess_prompt, llm_guess_prompt
from raglift.synthesis.filters.closed_book import ClosedBook
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_tasks import unit_of
from raglift.synthesis.llm_writer import ask_with_llm
from raglift.synthesis.reply import line_in

_TOKENS = 32
_BAR = "asking without the passages"


def asks_closed_book(filters: Sequence[QuestionFilter]) -> bool:
    """Whether a filter is in use that needs the writer's guesses."""
    return any(isinstance(item, ClosedBook) for item in filters)


def with_guesses(
    candidates: Sequence[Candidate],
    rules: Rules,
    batch_size: int,
    generator: Callable[[], Generator],
    llm: LLMWriter | None,
    job: Job,
) -> list[Candidate]:
    """The candidates, with the writer's guess where one is needed; as they are where no filter needs one.

    Asked is what has an answer and passes every other rule by itself. What only repeats another question is asked
    too: whether that one stays is not known yet. A question that stands there several times is asked once.

    Args:
        generator: Gives the local writer; called only if something is left to ask.
        llm: Asked in place of the local writer.

    Raises:
        UserError: The remote writer's budget is used up, or it fails for good; its replies are in the journal.
    """
    if not asks_closed_book(rules.filters):
        return list(candidates)
    others = replace(rules, filters=[item for item in rules.filters if not isinstance(item, ClosedBook)])
    alone = Accepted()
    passing = (c for c in candidates if c.answer and others.reason(c, alone) is None)
    # By length, so that batches waste little padding.
    questions = sorted({candidate.question for candidate in passing}, key=lambda text: (len(text), text))
    journal = Journal(job.out / WORK / "written.jsonl")
    try:
        if llm is not None:
            guesses = _remote_guesses(questions, llm, journal, job.display)
        else:
            guesses = local_guesses(questions, generator, batch_size, journal, job.display)
    finally:
        journal.close()
    return [replace(candidate, guess=guesses.get(candidate.question)) for candidate in candidates]


def local_guesses(
    questions: Sequence[str],
    generator: Callable[[], Generator],
    batch_size: int,
    journal: Journal,
    display: Progress,
) -> dict[str, str]:
    """Question -> the likeliest answer of the local writer, up to 32 tokens or the end of the line."""
    units = {}
    for start in range(0, len(questions), batch_size):
        batch = list(questions[start : start + batch_size])
        units[f"guesses {start // batch_size} {content_id(batch)}"] = batch
    done = sum(len(batch) for unit, batch in units.items() if unit in journal)
    guesses: dict[str, str] = {}
    with display.stage(_BAR, len(questions), "questions", done=done) as bar:
        for unit, batch in units.items():
            if unit not in journal:
                prompts = [guess_prompt(question) for question in batch]
                said = generator().generate(prompts, Sampling(_TOKENS, line=True), prefix=PREFIX)
                journal.append(unit, [text.strip() for text in said])
                bar.advance(len(batch))
            guesses |= zip(batch, journal[unit], strict=True)
    return guesses


def _remote_guesses(questions: Sequence[str], llm: LLMWriter, journal: Journal, display: Progress) -> Mapping[str, str]:
    """Question -> what the remote writer answered; those that it refused are missing."""
    units = {question: llm_guess_prompt(question) for question in questions}
    ask_with_llm(_BAR, list(units.values()), llm, journal, display)
    replies = {question: journal[unit_of(prompt)] for question, prompt in units.items()}
    return {question: line_in(reply["text"]) for question, reply in replies.items() if "text" in reply}
