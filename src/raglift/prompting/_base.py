"""What a prompt approach is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Prompt(Protocol):
    """Renders a question and passages to chat messages.

    Attributes:
        name: The plug-in's name.
        version: Raised when the wording changes; it is part of every key that depends on the prompt.
    """

    name: str
    version: int

    def messages(self, question: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """Chat messages up to the assistant's turn; without passages, a closed-book question."""
