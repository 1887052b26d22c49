"""What a question kind is, and the few-shot examples that the kinds share.

The prompts are plain continued text, one task a call: small models follow a pattern better than an instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shot:
    """A worked example: a text, what is asked of it, and the answer copied from it."""

    text: str
    asked: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class QuestionKind:
    """One way of asking.

    Attributes:
        name: The plug-in's name.
        task: First line of the prompt.
        label: The word before what is asked.
        shots: Worked examples.
        question: Whether it is a sentence with a question mark, and has an answer.
        answer_words: Longest answer, in words; 0 where there is none.
        answer_shots: Worked examples of the answer where they are not `shots`; each has one.
    """

    name: str
    task: str
    label: str
    shots: Sequence[Shot]
    question: bool = True
    answer_words: int = 0
    answer_shots: Sequence[Shot] = ()

    @property
    def prefix(self) -> str:
        """What stands before every prompt of the kind; it does not end in white space, so that the tokens of what
        follows do not depend on whether the two are encoded together."""
        shots = [f"Text: {shot.text}\n{self.label}: {shot.asked}" for shot in self.shots]
        return "\n\n".join([self.task, *shots])

    def prompt(self, text: str) -> str:
        """The continuation of the prefix that asks for a question about `text`."""
        return f"\n\nText: {text}\n{self.label}:"

    @property
    def answered(self) -> Sequence[Shot]:
        """The worked examples of the answer."""
        return self.answer_shots or self.shots

    @property
    def answer_prefix(self) -> str:
        """What stands before every prompt for an answer."""
        shots = [f"Text: {shot.text}\nQuestion: {shot.asked}\nAnswer: {shot.answer}" for shot in self.answered]
        return "\n\n".join(["Each question is answered with words copied from the text.", *shots])

    def answer_prompt(self, text: str, question: str) -> str:
        """The continuation of the answer prefix that asks for the answer to `question`."""
        return f"\n\nText: {text}\nQuestion: {question}\nAnswer:"

    def read_question(self, written: str) -> str:
        """What is asked, in what a writer wrote: up to the first question mark, since small models like to go on."""
        if not self.question:
            return written.strip()
        head, mark, _ = written.strip().partition("?")
        return head.strip() + mark

    def read_answer(self, written: str) -> str:
        """The answer in what a writer wrote, without the punctuation around it."""
        return written.strip().strip(".,;:").strip()
