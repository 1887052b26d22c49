"""What a corruption is."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

KIND = "corruption"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a corruption may put in the place of what is right, from documents of the same split.

    Attributes:
        names: Names of other documents, each once.
        sentences: Sentences of other documents about what the passage is about too, the nearest first.
        answers: Answers to other questions, where the claim is one to a question.
    """

    names: Sequence[str]
    sentences: Sequence[str]
    answers: Sequence[str] = ()


class Corruption(ABC):
    """Makes of a sentence that a passage supports one that it does not.

    Attributes:
        about: What it changes, in a few words.
        whole: Whether it puts another sentence in the place of the whole claim.
        borrows: Whether what it puts in comes from elsewhere, and could be right by chance.
    """

    about: ClassVar[str]
    whole: ClassVar[bool] = False
    borrows: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @abstractmethod
    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """The sentence that is not supported any more; None where there is nothing in it to change.

        Args:
            claim: What the passage supports.
            passage: Where near names and numbers come from; may be empty.
            chance: Decides between several changes.
        """
