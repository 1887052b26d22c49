"""What a prompt approach is, and the turns that approaches share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raglift.abstention import ABSTAIN


class Prompt(Protocol):
    """Renders a question and passages to chat messages, and knows the form of what is written in reply.

    Attributes:
        name: The plug-in's name.
        version: Raised when the wording, the form or `quote_tokens` changes; it is part of every key that depends on
            the prompt.
        quote_tokens: Room, in tokens, for what is copied from the passages before the answer; 0: nothing is.
    """

    name: str
    version: int
    quote_tokens: int

    def messages(self, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """Chat messages up to the assistant's turn; without passages, a closed-book question."""

    def target(self, answer: str, quote: str) -> str:
        """What the model is to write: the answer, after the quote where there is one."""

    def read(self, written: str) -> str:
        """The answer in what a model wrote; what is not in the approach's form is the answer as it stands."""


def closed_book(question: str) -> list[dict[str, str]]:
    """The turns of a question without passages."""
    system = f"Answer the question in a few words. If you do not know the answer, say: {ABSTAIN}"
    return [{"role": "system", "content": system}, {"role": "user", "content": f"Question: {question}"}]


def open_book(system: str, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
    """The turns of a question after numbered passages."""
    numbered = "\n\n".join(f"[{number}] {passage}" for number, passage in enumerate(passages, 1))
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": f"{numbered}\n\nQuestion: {question}"},
    ]
