"""What a question kind is: its task, its worked examples, and what makes a question of it valid.

How a writer is asked for one is the prompt style's business; a kind says what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SECOND = "\nSecond text: "


def two_texts(first: str, second: str) -> str:
    """Two texts as a writer sees them, in the place of one."""
    return first + _SECOND + second


@dataclass(frozen=True, slots=True)
class Shot:
    """A worked example: a text, what is asked of it, and the answer copied from it; `about` says in one line what in
    the text is asked for and why somebody would want to know it."""

    text: str
    asked: str
    answer: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A written question as its kind judges it.

    Attributes:
        texts: What it is about, as many as the kind's `texts`.
        known: Whether a word stands in any document of the corpus, in whatever inflection.
    """

    question: str
    texts: tuple[str, ...]
    known: Callable[[str], bool]


def nothing_more(draft: Draft) -> str | None:
    """The check of kinds whose validity the filters see to."""
    return None


@dataclass(frozen=True, slots=True)
class QuestionKind:
    """One way of asking.

    Attributes:
        name: The plug-in's name.
        task: First line of the prompt.
        label: The word before what is asked.
        shots: Worked examples.
        question: Whether it is a sentence with a question mark.
        answer_words: Longest answer, in words; 0 where there is none.
        answer_shots: Worked examples of the answer where they are not `shots`; each has one.
        description: What makes a good one, in full sentences that address a writer who sees no examples.
        texts: How many texts of different passages one question is about, 1 or 2.
        answerable: Whether the corpus answers it; where not, it has no evidence and trains abstention alone.
        check: Why a question is none of this kind, in a few constant words for the funnel, or None if it is one.
    """

    name: str
    task: str
    label: str
    shots: Sequence[Shot]
    question: bool = True
    answer_words: int = 0
    answer_shots: Sequence[Shot] = ()
    description: str = ""
    texts: int = 1
    answerable: bool = True
    check: Callable[[Draft], str | None] = nothing_more

    @property
    def answered(self) -> Sequence[Shot]:
        """The worked examples of the answer."""
        return self.answer_shots or self.shots

    def read_question(self, written: str) -> str:
        """What is asked, in what a writer wrote: up to the first question mark, since small models like to go on."""
        if not self.question:
            return written.strip()
        head, mark, _ = written.strip().partition("?")
        return head.strip() + mark

    def read_answer(self, written: str) -> str:
        """The answer in what a writer wrote, without the punctuation around it."""
        return written.strip().strip(".,;:").strip()
