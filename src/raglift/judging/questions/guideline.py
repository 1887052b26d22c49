"""Does the answer keep to a rule of yours?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from raglift.judging.items import Example, Item
from raglift.judging.questions._base import JudgeQuestion, asked

_TASK = "You check whether an answer keeps to a guideline. Does the answer keep to the guideline?"


class Guideline(JudgeQuestion):
    """Whether an answer keeps to a rule that the settings give.

    No machine can tell what breaks a rule, so that the judge is tested on answers that the settings give too; about
    ten of each are the least from which a judge without a mistake can be believed.
    """

    about: ClassVar[str] = "answers that keep to the guideline"

    text: str = Field(min_length=1, description="the rule, in a sentence")
    keeps: tuple[str, ...] = Field(default=(), description="answers that keep to it, to test the judge with")
    breaks: tuple[str, ...] = Field(default=(), description="answers that break it, to test the judge with")

    def prompts(self, item: Item) -> tuple[str, ...]:
        """One call with guideline, question and answer."""
        parts = [("guideline", self.text)]
        if item.question:
            parts.append(("question", item.question))
        return (asked(_TASK, *parts, ("answer", item.answer or "")),)

    def examples(self, known: Sequence[Item], most: int, seed: int) -> list[Example]:
        """The settings' own; `known` says nothing about the rule."""
        right = [Example(Item("", "", text), True) for text in self.keeps[:most]]
        return right + [Example(Item("", "", text), False, "breaks it") for text in self.breaks[:most]]


PLUGIN = Guideline
