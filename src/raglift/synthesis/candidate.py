"""A written question before it is accepted, and what a filter may look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from raglift.records import Split
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.words import words


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question about `text`, which stands in a chunk; `rank` is the best rank that BM25 or the base embedding model
    gives to a chunk with that text, counted from 1; `passage` is the whole chunk; `guess` is what the writer answers to
    the question alone, None where it was not asked.

    Where the kind takes two texts, `text` and `passage` hold both, `parts` names them, and `rank` is the worse one's.
    """

    chunk_id: str
    text: str
    kind: QuestionKind
    split: Split
    question: str
    answer: str
    rank: int
    passage: str = ""
    guess: str | None = None
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """(Chunk id, text) of each text that it is about."""
        return self.parts or ((self.chunk_id, self.text),)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What has passed so far, for filters that compare."""

    questions: list[frozenset[str]] = field(default_factory=list)

    def remember(self, question: str) -> None:
        """Count a question as asked."""
        self.questions.append(frozenset(words(question)))


class QuestionFilter(Protocol):
    """Says why a candidate is dropped; `name` is the plug-in's name."""

    name: str

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Why the candidate is dropped, or None if it may stay."""
