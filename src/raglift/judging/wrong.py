"""Right answers made wrong by the corruptions of `raglift.grounding`, and in other words, to test a judge with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from raglift import plugins
from raglift.grounding.corruptions._base import KIND, Corruption, Elsewhere
from raglift.grounding.spans import names
from raglift.judging.items import Item
from raglift.synthesis.evidence import sentences
from raglift.synthesis.words import holds, words

WRONG_ANSWER = "wrong_answer"
_TRIES = 60
"""Times that a corruption is asked for a change that cannot be right by chance."""


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A wrong answer, and the name of the corruption that made it."""

    text: str
    how: str


def corrupt(known: Item, others: Sequence[Item], kinds: Sequence[str], rng: random.Random) -> Corrupted | None:
    """The item's right answer made wrong by one of the corruptions, drawn among those that can be done to it.

    What is put in does not stand in the item's passages or references, so that it cannot be right by chance. Another
    answer, which can always be had and is the easiest to see, is taken where it is drawn first or nothing else can be.

    Args:
        others: Where other answers and names come from.
        kinds: Names of corruptions.

    Returns:
        None where no kind can be done to it.
    """
    answer = known.answer or ""
    order = list(kinds)
    rng.shuffle(order)
    order[1:] = sorted(order[1:], key=lambda kind: kind == WRONG_ANSWER)
    around = _elsewhere(known, others)
    for kind in order:
        maker: Corruption = plugins.load(KIND, kind)
        for _ in range(_TRIES):
            # Without the passage: a name or number that stands in it may answer the question too.
            text = maker.corrupt(answer, "", around, rng)
            if text is None:
                break
            if not _right(text, known) and not (maker.borrows and _stands(_put_in(answer, text), known)):
                return Corrupted(text, kind)
    return None


def _elsewhere(known: Item, others: Sequence[Item]) -> Elsewhere:
    """The names in other answers, and the answers about other documents."""
    said = [other for other in others if other.answer and other.id != known.id]
    held = dict.fromkeys(name for other in said for name in _names(other.answer or ""))
    apart = [other.answer or "" for other in said if other.document != known.document or not known.document]
    return Elsewhere(list(held), [], apart)


@lru_cache(maxsize=4096)
def _names(text: str) -> tuple[str, ...]:
    return tuple(text[slice(*span)] for span in names(text))


def _put_in(old: str, new: str) -> str:
    """The words of a text between the ones with which another begins and ends too."""
    before, after = old.split(), new.split()
    shortest = min(len(before), len(after))
    first = next((at for at in range(shortest) if before[at] != after[at]), shortest)
    last = next((at for at in range(shortest - first) if before[-1 - at] != after[-1 - at]), shortest - first)
    return " ".join(after[first : len(after) - last])


def phrased(references: Sequence[str], passage: str, rng: random.Random) -> str:
    """A right answer in other words than the first reference: another one, the passage's sentence with it, or a frame.

    A judge that is shown the reference itself as the answer only has to see that two texts are equal.
    """
    known = [text.strip() for text in references if text.strip()]
    choices = [text for text in known[1:] if words(text) != words(known[0])]
    own = [" ".join(sentence.split()) for sentence in sentences(passage)]
    choices += [sentence for sentence in own if holds(sentence, known[0]) and sentence != known[0]][:1]
    return rng.choice(choices) if choices else f"The answer is {known[0]}"


def _stands(text: str, known: Item) -> bool:
    return any(holds(place, text) for place in (*known.references, *known.contexts, known.answer or ""))


def _right(text: str, known: Item) -> bool:
    """Whether what was made says what a reference says after all."""
    said = words(text)
    if said == words(known.answer or ""):
        return True
    return any(words(r) == said or (holds(text, r) and "not" not in said and words(r)) for r in known.references)
