"""Right answers made wrong in a known way, to test a judge with."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from raglift.judging.items import Item

Corruption: TypeAlias = Literal["another answer", "number", "entity", "negation"]

Found = TypeVar("Found")

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
_NAME = re.compile(r"(?<![\w'])[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_VERB = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|must|may|has|have|had|does|do|did)\b(?P<no> not\b)?", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^.!?]+(?:[.!?](?!\s|$)[^.!?]*)*[.!?]*")
_OPENERS = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "it", "he", "she", "they", "we", "you", "i"}
    | {"in", "on", "at", "of", "for", "to", "and", "but", "if", "when"}
)
"""Words that have a capital where a sentence begins and are no names."""


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A wrong answer, and what was done to get it."""

    text: str
    how: Corruption


def corrupt(known: Item, others: Sequence[Item], kinds: Sequence[Corruption], rng: random.Random) -> Corrupted | None:
    """The item's right answer made wrong by one of the kinds, drawn among those that can be done to it.

    What is put in does not stand in the item's passages or references, so that it cannot be right by chance. Another
    answer, which can always be had and is the easiest to see, is taken where it is drawn first or nothing else can be.

    Args:
        others: Where other answers and names come from.

    Returns:
        None where no kind can be done to it.
    """
    order = list(kinds)
    rng.shuffle(order)
    order[1:] = sorted(order[1:], key=lambda kind: kind == "another answer")
    for kind in order:
        for text in _MAKE[kind](known, others, rng):
            if not _right(text, known):
                return Corrupted(text, kind)
    return None


def phrased(references: Sequence[str], passage: str, rng: random.Random) -> str:
    """A right answer in other words than the first reference: another one, the passage's sentence with it, or a frame.

    A judge that is shown the reference itself as the answer only has to see that two texts are equal.
    """
    known = [text.strip() for text in references if text.strip()]
    choices = [text for text in known[1:] if _plain(text) != _plain(known[0])]
    choices += [sentence for sentence in sentences(passage) if holds(sentence, known[0]) and sentence != known[0]][:1]
    return rng.choice(choices) if choices else f"The answer is {known[0]}"


def sentences(text: str) -> list[str]:
    """The sentences of a text, by their marks."""
    return [sentence for line in text.split("\n") for found in _SENTENCE.findall(line) if (sentence := found.strip())]


def _another_answer(known: Item, others: Sequence[Item], rng: random.Random) -> Iterator[str]:
    apart = [
        other.answer
        for other in others
        if other.answer and other.id != known.id and (other.document != known.document or not known.document)
    ]
    yield from _shuffled(apart, rng)


def _number(known: Item, others: Sequence[Item], rng: random.Random) -> Iterator[str]:
    text = known.answer or ""
    for match in _shuffled(list(_NUMBER.finditer(text)), rng):
        for _ in range(20):
            # The same form with other digits: what is wrong is the number, not the look of it.
            made = "".join(_digit(mark, place, rng) for place, mark in enumerate(match[0]))
            if made != match[0] and not _stands(made, known):
                yield text[: match.start()] + made + text[match.end() :]
                break


def _digit(mark: str, place: int, rng: random.Random) -> str:
    return str(rng.randint(1 if place == 0 else 0, 9)) if mark.isdigit() else mark


def _entity(known: Item, others: Sequence[Item], rng: random.Random) -> Iterator[str]:
    text = known.answer or ""
    names = [match for match in _NAME.finditer(text) if match[0].casefold() not in _OPENERS]
    pool = {match[0] for other in others for match in _NAME.finditer(other.answer or "") if _is_name(match[0])}
    apart = [name for name in sorted(pool) if not _stands(name, known)] if names else []
    if apart:
        for match in _shuffled(names, rng):
            yield text[: match.start()] + rng.choice(apart) + text[match.end() :]


def _shuffled(found: list[Found], rng: random.Random) -> list[Found]:
    rng.shuffle(found)
    return found


def _is_name(text: str) -> bool:
    return text.split()[0].casefold() not in _OPENERS and len(text) > 2


def _negation(known: Item, others: Sequence[Item], rng: random.Random) -> Iterator[str]:
    text = known.answer or ""
    match = _VERB.search(text)
    if match is not None:
        yield text[: match.start()] + match[1] + ("" if match["no"] else " not") + text[match.end() :]


_MAKE: dict[Corruption, Callable[[Item, Sequence[Item], random.Random], Iterator[str]]] = {
    "another answer": _another_answer,
    "number": _number,
    "entity": _entity,
    "negation": _negation,
}


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def holds(text: str, part: str) -> bool:
    """Whether the words of `part` stand in `text`, whole and in their order."""
    return f" {_plain(part)} " in f" {_plain(text)} "


def _stands(text: str, known: Item) -> bool:
    return any(holds(place, text) for place in (*known.references, *known.contexts, known.answer or ""))


def _right(text: str, known: Item) -> bool:
    """Whether what was made says what a reference says after all."""
    plain = _plain(text)
    if plain == _plain(known.answer or ""):
        return True
    negated = " not " in f" {plain} "
    return any(_plain(r) == plain or (holds(text, r) and not negated and _plain(r)) for r in known.references)
