"""What a query transform is: it has a language model write, and makes searches of what was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from raglift.index.dense import Search

Messages = list[dict[str, str]]


class QueryTransform(BaseModel):
    """Turns a question into what is searched for in its place. Fields are its parameters.

    Attributes:
        when: When to use it.
        paper: Where it comes from.
        version: Raised when the wording or the reading changes.
        line: Whether what is written ends with its line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1
    line: ClassVar[bool] = True

    samples: int = Field(default=1, ge=1, le=16, description="texts that are written for a question")
    temperature: float = Field(default=0.7, gt=0, le=2, description="how freely they are drawn")
    max_new_tokens: int = Field(default=32, ge=4, le=512, description="longest text, in tokens")

    def messages(self, question: str) -> Messages:
        """The chat that asks for a text."""
        raise NotImplementedError

    def searches(self, question: str, written: Sequence[str]) -> tuple[Search, ...]:
        """What is searched for; where nothing of use was written, the question as it is.

        Args:
            written: `samples` texts.
        """
        raise NotImplementedError


def distinct(texts: Sequence[str]) -> list[str]:
    """The texts without quotes and space around them, each once apart from case; empty ones are left out."""
    cleaned = [text.strip().strip("\"'").strip() for text in texts]
    return list({text.casefold(): text for text in reversed(cleaned) if text}.values())[::-1]


def chat(task: str, examples: Sequence[tuple[str, str]], question: str) -> Messages:
    """A task, worked examples as turns of a chat, and the question."""
    turns = [{"role": "system", "content": task}]
    for asked, answered in examples:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*turns, {"role": "user", "content": question}]
