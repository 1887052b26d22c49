"""What a prompt style is."""

from __future__ import annotations

from typing import Protocol

from raglift.synthesis.kinds._base import QuestionKind, Shot


class PromptStyle(Protocol):
    """How a writer is asked for a question about a text, and then for its answer; and how its replies are read.

    A local writer continues `prefix` + `prompt`, a remote one gets `message`. A style changes the wording of what is
    asked for; what is asked for is the kind's.

    Attributes:
        name: The plug-in's name.
        chat: Whether a local writer that has a chat template gets prefix and prompt as a user's turn.
        shows_examples: Whether the kind's worked examples stand in its prompts.
        question_tokens: Longest reply of a local writer to the prompt for a question.
    """

    name: str
    chat: bool
    shows_examples: bool
    question_tokens: int

    def prefix(self, kind: QuestionKind) -> str:
        """What stands before every prompt of a kind; it does not end in white space, so that the tokens of what follows
        do not depend on whether the two are encoded together."""

    def prompt(self, kind: QuestionKind, text: str) -> str:
        """The continuation of the prefix that asks for a question about `text` (two texts joined by `two_texts`)."""

    def reply(self, kind: QuestionKind, shot: Shot) -> str:
        """What a writer that does as it is told would write about a worked example's text."""

    def until(self, kind: QuestionKind) -> str:
        """The character with which a local writer's reply is complete; empty where only the line's end ends it."""

    def read(self, kind: QuestionKind, written: str) -> str:
        """What is asked, in the continuation of a prompt that a local writer wrote."""

    def answer_prefix(self, kind: QuestionKind) -> str:
        """What stands before every prompt for an answer."""

    def answer_prompt(self, kind: QuestionKind, text: str, question: str) -> str:
        """The continuation of the answer prefix that asks for the answer to `question`."""

    def message(self, kind: QuestionKind, text: str) -> str:
        """What a remote writer is sent for a question about `text`."""

    def read_reply(self, kind: QuestionKind, reply: str) -> str:
        """What is asked, in a remote writer's reply; empty where nothing is."""

    def answer_message(self, kind: QuestionKind, text: str, question: str) -> str:
        """What a remote writer is sent for the answer to `question`, a quote from `text`."""
