"""Answer from the passages, briefly, or say that they do not tell."""

from __future__ import annotations

from collections.abc import Sequence

from raglift.abstention import ABSTAIN
from raglift.prompting._base import closed_book, open_book

_SYSTEM = (
    "Answer the question in a few words, taken from the passages. "
    f"If the passages do not hold the answer, say: {ABSTAIN}"
)


class Grounded:
    """Numbered passages, then the question; the instruction names the sentence with which to abstain."""

    name = "grounded"
    version = 1
    quote_tokens = 0

    def messages(self, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """A system and a user message."""
        return open_book(_SYSTEM, question, passages) if passages else closed_book(question)

    def target(self, answer: str, quote: str) -> str:
        """The answer alone."""
        return answer

    def read(self, written: str) -> str:
        """All of it."""
        return written


PLUGIN = Grounded()
