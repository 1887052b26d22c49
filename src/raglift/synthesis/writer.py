"""Writing: a plan of what to ask of which chunk, and the language model that asks it, batch by batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from raglift.journal import Journal
from raglift.models.chat import render_chat
from raglift.models.generation import Extract, Generator, Sampling
from raglift.records import Chunk, content_id
from raglift.synthesis.asking import Asking
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.kinds._base import QuestionKind, two_texts
from raglift.synthesis.selection import NOTHING, informative
from raglift.synthesis.styles._base import PromptStyle
from raglift.synthesis.words import words

_TEXT = "\0"
"""Stands for the text while a chat template is rendered around it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Ask a question of this kind about this text of this chunk, and for some kinds about another's too."""

    chunk_id: str
    text: str
    kind: str
    other_id: str = ""
    other: str = ""

    @property
    def parts(self) -> list[tuple[str, str]]:
        """(Chunk id, text) of every text."""
        return [(self.chunk_id, self.text)] + ([(self.other_id, self.other)] if self.other else [])

    @property
    def shown(self) -> str:
        """The text or the two texts as the writer sees them."""
        return two_texts(self.text, self.other) if self.other else self.text


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


@dataclass(frozen=True, slots=True)
class Writing:
    """How a local writer goes about it.

    Attributes:
        seed: The first batch's; every other has its own.
        samples: How often a question is drawn, before one is kept.
        fits: Whether a question of a kind about an assignment's parts may be kept, as far as can be said before it is
            answered.
    """

    batch_size: int
    temperature: float
    seed: int
    samples: int = 1
    fits: Callable[[QuestionKind, Sequence[tuple[str, str]], str], bool] = lambda kind, parts, question: True


def write(
    assignments: Sequence[Assignment],
    asking: Asking,
    writing: Writing,
    generator: Callable[[], Generator],
    journal: Journal,
    advance: Callable[[int], None],
) -> Iterator[Written]:
    """Write every question and its answer; a finished batch is in the journal and is never written again.

    Args:
        generator: Loads the writer, or gives it again; called only if something is left to write.
    """
    for unit, (kind, batch) in enumerate(_batches(assignments, writing.batch_size)):
        name = _unit_name(unit, kind, batch)
        if name not in journal:
            journal.append(name, _write_batch(batch, asking, generator(), replace(writing, seed=writing.seed + unit)))
            advance(len(batch))
        for assignment, (question, answer) in zip(batch, journal[name], strict=True):
            yield Written(assignment, question, answer)


def finished(assignments: Sequence[Assignment], batch_size: int, journal: Journal) -> int:
    """How many of the assignments the journal holds."""
    return sum(
        len(batch)
        for unit, (kind, batch) in enumerate(_batches(assignments, batch_size))
        if _unit_name(unit, kind, batch) in journal
    )


def _unit_name(unit: int, kind: str, batch: Sequence[Assignment]) -> str:
    """The name holds what is asked, so that a journal is never read for another plan."""
    return f"batch {unit} {content_id(kind, [assignment.shown for assignment in batch])}"


def _batches(assignments: Sequence[Assignment], size: int) -> Iterator[tuple[str, list[Assignment]]]:
    for name, group in groupby(assignments, key=lambda item: item.kind):
        items = list(group)
        for start in range(0, len(items), size):
            yield name, items[start : start + size]


def _write_batch(
    batch: Sequence[Assignment], asking: Asking, generator: Generator, writing: Writing
) -> list[list[Any]]:
    """[Question, answer] for each assignment of a batch, which are of one kind."""
    kind, style = asking.kinds[batch[0].kind], asking.style
    texts = [assignment.shown for assignment in batch]
    asked = _questions(kind, style, batch, generator, writing)
    if not kind.answer_words:
        return [[question, ""] for question in asked]
    prompts = [style.answer_prompt(kind, text, question) for text, question in zip(texts, asked, strict=True)]
    prefix, prompts = rendered(style, generator.tokenizer, style.answer_prefix(kind), prompts)
    sources = [Extract(text, frozenset(words(question))) for text, question in zip(texts, asked, strict=True)]
    answers = generator.generate(
        prompts, Sampling(2 * kind.answer_words + 1, line=True), prefix=prefix, extract_from=sources
    )
    return [[question, kind.read_answer(answer)] for question, answer in zip(asked, answers, strict=True)]


def _questions(
    kind: QuestionKind, style: PromptStyle, batch: Sequence[Assignment], generator: Generator, writing: Writing
) -> list[str]:
    """What is asked about each text: the only sample, or the one that says most about it."""
    prompts = [style.prompt(kind, text) for text in [*(assignment.shown for assignment in batch), NOTHING]]
    prefix, (*prompts, empty) = rendered(style, generator.tokenizer, style.prefix(kind), prompts)
    sampling = Sampling(
        style.question_tokens, writing.temperature, seed=writing.seed, line=True, until=style.until(kind)
    )
    if writing.samples == 1:
        return [style.read(kind, written) for written in generator.generate(prompts, sampling, prefix=prefix)]

    def fit(row: int, written: str) -> bool:
        return writing.fits(kind, batch[row].parts, style.read(kind, written))

    drawn = generator.generate_samples(prompts, sampling, writing.samples, prefix=prefix)
    return [style.read(kind, best) for best in informative(generator, drawn, empty, prefix, fit)]


def rendered(
    style: PromptStyle, tokenizer: PreTrainedTokenizerBase, prefix: str, prompts: Sequence[str]
) -> tuple[str, list[str]]:
    """Prefix and prompts as the writer continues them: as they are, or as a user's turn of its chat template."""
    if not style.chat or not getattr(tokenizer, "chat_template", None):
        return prefix, list(prompts)
    head, _, tail = render_chat(tokenizer, [{"role": "user", "content": prefix + _TEXT}]).partition(_TEXT)
    return head, [prompt + tail for prompt in prompts]
