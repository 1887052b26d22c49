"""What a question to a judge is, and what it is asked about."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from raglift.abstention import abstains
from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Example, Item
from raglift.judging.wrong import WRONG_ANSWER, corrupt

Label = tuple[str, ...]
"""A label and its further spellings, as a model may begin a reply with them."""

YES: Label = ("Yes", " Yes", "yes", " yes")
NO: Label = ("No", " No", "no", " no")

NO_CONTEXT = "no passages"
ABSTAINED = "the answer abstains"
NO_OTHER = "no answer to compare with"

_ALONE = "Reply with Yes or No and nothing else."


class JudgeQuestion(BaseModel):
    """One thing that a judge is asked about an item, to be answered with a label alone. Fields are its parameters.

    Attributes:
        about: What the share of "yes" says, in a few words.
        labels: The labels; the first one stands for 1, the second for 0.
        corruptions: Names of those of `raglift.grounding.corruptions` that make a wrong answer of a right one.
        version: Raised with every change of wording or of what follows from the labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: ClassVar[str]
    labels: ClassVar[tuple[Label, Label]] = (YES, NO)
    corruptions: ClassVar[tuple[str, ...]] = (WRONG_ANSWER, "number", "entity", "negation")
    compares: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def missing(self, item: Item) -> str:
        """Why the item cannot be judged; empty if it can."""
        return "" if item.answer and item.answer.strip() else NO_ANSWER

    def prompts(self, item: Item) -> tuple[str, ...]:
        """The calls that an item takes, one label each; what all items share comes first, so that it is read once."""
        raise NotImplementedError

    def value(self, labels: Sequence[str]) -> float:
        """What the labels of an item's calls say, in [0, 1]."""
        return float(labels[0] == self.labels[0][0])

    def right(self, known: Item) -> Example:
        """An item to which the answer is the first label. `known` holds a right answer and its evidence."""
        return Example(known, True)

    def wrong(self, known: Item, others: Sequence[Item], rng: random.Random) -> Example | None:
        """An item to which the answer is the second label; None where none can be made of `known`."""
        made = corrupt(known, others, self.corruptions, rng)
        return None if made is None else Example(replace(known, answer=made.text), False, made.how)

    def examples(self, known: Sequence[Item], most: int, seed: int) -> list[Example]:
        """Right and wrong items, at most `most` of each, the right ones from one end of a shuffled row and the wrong
        ones from the other: a question is in both only where there are too few."""
        rng = random.Random(f"{seed}/{type(self).__name__}")
        row = [item for item in known if not self.missing(self.right(item).item)]
        rng.shuffle(row)
        found = [self.right(item) for item in row[:most]]
        wrong: list[Example] = []
        for item in reversed(row):
            if len(wrong) == most:
                break
            made = self.wrong(item, row, rng)
            if made is not None:
                wrong.append(made)
        return found + wrong


def grounded(item: Item) -> str:
    """Why an answer cannot be held against its passages; empty if it can."""
    if not item.answer or not item.answer.strip():
        return NO_ANSWER
    if not item.contexts:
        return NO_CONTEXT
    return ABSTAINED if abstains(item.answer) else ""


def referenced(item: Item) -> str:
    """Why an answer cannot be held against a reference; empty if it can."""
    if not item.answer or not item.answer.strip():
        return NO_ANSWER
    return "" if any(reference.strip() for reference in item.references) else NO_REFERENCE


def asked(task: str, *parts: tuple[str, str]) -> str:
    """A prompt: the task, each part between marks of its name, and how to reply.

    The marks are taken out of the parts, so that an answer cannot end itself and go on as an instruction.
    """
    return "\n\n".join([task, *(marked(name, text) for name, text in parts), _ALONE])


def marked(name: str, text: str) -> str:
    """A text between marks."""
    inner = text.replace(f"<{name}>", "").replace(f"</{name}>", "").strip()
    return f"<{name}>\n{inner}\n</{name}>"


def joined(texts: Sequence[str]) -> str:
    """Several texts as one part."""
    return "\n\n".join(text.strip() for text in texts if text.strip())
