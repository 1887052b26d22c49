"""Questions of people as examples for the writer, each with a short text that it is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property

from raglift.records import content_id
from raglift.synthesis.words import words

_RUN = 8
"""Words in a row that two texts share if they overlap."""


@dataclass(frozen=True, slots=True)
class HumanExample:
    """A question that a person asked, and the one or two sentences that it is about.

    Attributes:
        answer: The answer as it stands in `text`; empty where there is none or where it does not stand there.
        answer_words: Words of the answer that was given, whether it stands in the text or not; 0 where there is none.
        documents: Ids of the documents that hold the text, empty where that is not known.
    """

    text: str
    question: str
    answer: str = ""
    answer_words: int = 0
    documents: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether it is a question; otherwise it is words that somebody typed into a search box."""
        return self.question.endswith("?")


@dataclass(frozen=True)
class HumanExamples:
    """The examples of a run.

    Attributes:
        left_out: How many were of no use, by reason.
        taught: Ids of the documents that a tuned writer does not write about: those of the examples that it was tuned
            on, and their near-duplicates.
    """

    items: tuple[HumanExample, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    taught: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """All of them, hashed."""
        return content_id([asdict(item) for item in self.items], sorted(self.left_out.items()), sorted(self.taught))

    @cached_property
    def asked(self) -> frozenset[frozenset[str]]:
        """The words of every example's question."""
        return frozenset(frozenset(words(item.question)) for item in self.items)

    def repeats(self, question: str) -> bool:
        """Whether a question has the same words as an example's."""
        return frozenset(words(question)) in self.asked

    @cached_property
    def _with_run(self) -> dict[tuple[str, ...], list[int]]:
        """Every eight words in a row of the texts, and the examples in which they stand."""
        found: dict[tuple[str, ...], list[int]] = {}
        for place, item in enumerate(self.items):
            for run in _runs(item.text):
                found.setdefault(run, []).append(place)
        return found

    def overlap(self, text: str) -> bool:
        """Whether a text is that of an example: one holds the other, or half of what one says in runs of eight words
        stands in the other too."""
        text, runs = squeezed(text), _runs(text)
        if any(item.text in text or text in item.text for item in self.items):
            return True
        shared = Counter(place for run in runs for place in self._with_run.get(run, ()))
        return any(2 * count >= min(len(runs), len(_runs(self.items[place].text))) for place, count in shared.items())


def squeezed(text: str) -> str:
    """The text on one line, with single spaces."""
    return " ".join(text.split())


def overlaps(left: str, right: str) -> bool:
    """Whether one text stands in the other, or both hold the same eight words in a row."""
    left, right = squeezed(left), squeezed(right)
    return left in right or right in left or not _runs(left).isdisjoint(_runs(right))


def _runs(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[at : at + _RUN]) for at in range(len(found) - _RUN + 1)}


def warn_of_left_out(examples: HumanExamples, warn: Callable[[str], None]) -> None:
    """Say how many examples are of no use, and why; nothing where all are."""
    if examples.left_out:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in sorted(examples.left_out.items()))
        warn(f"Examples left out: {reasons}.")
