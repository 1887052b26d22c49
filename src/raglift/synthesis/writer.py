"""Writing: a plan of what to ask of which chunk, and the language model that asks it, batch by batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from raglift.journal import Journal
from raglift.models.generation import Extract, Generator, Sampling
from raglift.records import Chunk, content_id
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.words import words

_QUESTION_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Assignment:
    """Ask a question of this kind about this text of this chunk."""

    chunk_id: str
    text: str
    kind: str


def plan(
    chunks: Sequence[Chunk], kinds: Mapping[str, float], per_chunk: float, limit: int | None, seed: int
) -> list[Assignment]:
    """Which questions to write, the same for the same seed.

    A chunk gets `per_chunk` questions (a fraction by lot), each about another of its readable texts as long as there
    are enough, of kinds drawn by weight. Chunks without readable text get none. The result is sorted by kind and text
    length, so that batches of it share a prompt and waste little padding.
    """
    rng = random.Random(f"{seed}/plan")
    names = sorted(kinds)
    weights = [kinds[name] for name in names]
    assignments = []
    for chunk in chunks:
        texts = evidence_texts(chunk.text)
        count = int(per_chunk) + (rng.random() < per_chunk % 1)
        rng.shuffle(texts)
        for position in range(count if texts else 0):
            kind = rng.choices(names, weights)[0]
            assignments.append(Assignment(chunk.id, texts[position % len(texts)], kind))
    assignments = list(dict.fromkeys(assignments))
    if limit is not None and len(assignments) > limit:
        assignments = rng.sample(assignments, limit)
    return sorted(assignments, key=lambda item: (item.kind, len(item.text), item.text, item.chunk_id))


@dataclass(frozen=True, slots=True)
class Written:
    """What the writer made of an assignment."""

    assignment: Assignment
    question: str
    answer: str


def write(
    assignments: Sequence[Assignment],
    generator: Callable[[], Generator],
    batch_size: int,
    temperature: float,
    seed: int,
    journal: Journal,
    advance: Callable[[int], None],
    kinds: Mapping[str, QuestionKind],
) -> Iterator[Written]:
    """Write every question and its answer; a finished batch is in the journal and is never written again.

    Args:
        generator: Loads the writer, or gives it again; called only if something is left to write.
        kinds: Question kinds by name.
    """
    for unit, (kind, batch) in enumerate(_batches(assignments, batch_size, kinds)):
        name = _unit_name(unit, kind, batch)
        if name not in journal:
            journal.append(name, _write_batch(kind, batch, generator(), temperature, seed + unit))
            advance(len(batch))
        for assignment, (question, answer) in zip(batch, journal[name], strict=True):
            yield Written(assignment, question, answer)


def finished(
    assignments: Sequence[Assignment], batch_size: int, journal: Journal, kinds: Mapping[str, QuestionKind]
) -> int:
    """How many of the assignments the journal holds."""
    return sum(
        len(batch)
        for unit, (kind, batch) in enumerate(_batches(assignments, batch_size, kinds))
        if _unit_name(unit, kind, batch) in journal
    )


def _unit_name(unit: int, kind: QuestionKind, batch: Sequence[Assignment]) -> str:
    """The name holds what is asked, so that a journal is never read for another plan."""
    return f"batch {unit} {content_id(kind.name, [assignment.text for assignment in batch])}"


def _batches(
    assignments: Sequence[Assignment], size: int, kinds: Mapping[str, QuestionKind]
) -> Iterator[tuple[QuestionKind, list[Assignment]]]:
    for name, group in groupby(assignments, key=lambda item: item.kind):
        items = list(group)
        for start in range(0, len(items), size):
            yield kinds[name], items[start : start + size]


def _write_batch(
    kind: QuestionKind, batch: Sequence[Assignment], generator: Generator, temperature: float, seed: int
) -> list[list[Any]]:
    texts = [assignment.text for assignment in batch]
    sampling = Sampling(_QUESTION_TOKENS, temperature, seed=seed, line=True)
    asked = [
        kind.read_question(text)
        for text in generator.generate([kind.prompt(text) for text in texts], sampling, prefix=kind.prefix)
    ]
    if not kind.answer_words:
        return [[question, ""] for question in asked]
    prompts = [kind.answer_prompt(text, question) for text, question in zip(texts, asked, strict=True)]
    sources = [Extract(text, frozenset(words(question))) for text, question in zip(texts, asked, strict=True)]
    answers = generator.generate(
        prompts, Sampling(2 * kind.answer_words + 1, line=True), prefix=kind.answer_prefix, extract_from=sources
    )
    return [[question, kind.read_answer(answer)] for question, answer in zip(asked, answers, strict=True)]
