"""The answer to another question."""

from __future__ import annotations

import random
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere
from raglift.grounding.statements import parted


class WrongAnswer(Corruption):
    """A question gets the answer to another question; a claim without a question is taken for an answer."""

    about: ClassVar[str] = "the answer is that to another question"
    borrows: ClassVar[bool] = True
    version: ClassVar[int] = 2

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        question, answer = parted(claim)
        known = answer.lower()
        others = [each for each in elsewhere.answers if each.lower() not in known and known not in each.lower()]
        return f"{question} {chance.choice(others)}".lstrip() if others else None


PLUGIN = WrongAnswer()
