"""What a dimension is, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from raglift.evaluation.arms import Arm
from raglift.evaluation.judgements import on_chunks
from raglift.evaluation.spans import evidence_of
from raglift.records import Chunk, Document, QAPair

NO_EVIDENCE = "no evidence"
WHOLE_DOCUMENT = "a whole document as evidence"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a question set apart from what the arms that are compared made of it.

    Attributes:
        documents: Document id -> document.
        chunks: Chunk id -> chunk.
        words_alone: Question id -> the chunks that BM25 found for it, best first; None where BM25 was not asked.
    """

    questions: Sequence[QAPair]
    documents: Mapping[str, Document] = field(default_factory=dict)
    chunks: Mapping[str, Chunk] = field(default_factory=dict)
    words_alone: Mapping[str, Sequence[str]] | None = None

    def evidence_text(self, question: QAPair) -> str | None:
        """The characters that are a question's evidence, or where they are not told its passages; None where whole
        documents are, or nothing is."""
        cover = evidence_of(question)
        if cover and cover.keys() <= self.documents.keys():
            parts = [self.documents[name].text[start:end] for name, spans in cover.items() for start, end in spans]
            return "\n".join(parts)
        named = [item.chunk_id or "" for item in question.evidence if item.grade > 0]
        if not named or not on_chunks(question):
            return None
        return "\n".join(self.chunks[name].text for name in dict.fromkeys(named) if name in self.chunks)

    def without_text(self, question: QAPair) -> str:
        """The slice of a question that has no evidence text."""
        return WHOLE_DOCUMENT if any(item.grade > 0 for item in question.evidence) else NO_EVIDENCE


class Dimension(ABC):
    """One way to cut a question set. Its file holds one instance, `PLUGIN`, whose `name` is the file's.

    A slice is made of what is known before any arm is run, never of the scores of an arm that is compared: questions
    on which the base came out low by chance come out higher the next time, tuned or not (regression to the mean,
    Barnett et al. 2005), so that slices by the base's own score show gains at its worst questions and harms at its
    best ones where nothing changed at all.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """What its slices are, in a few words for the report."""
    within_documents: ClassVar[bool] = False
    """Whether a slice may be one document. Its questions are then what was sampled, and each is a cluster of its own:
    the answer is about that document and says nothing of others."""

    @abstractmethod
    def slices(self, facts: Facts) -> dict[str, str]:
        """Question id -> slice, for every question, so that the slices are a partition; empty where it cannot tell."""

    def not_for(self, arm: Arm) -> str:
        """Why an arm is not looked at by these slices, as half a sentence; empty where it is."""
        return ""


def thirds(values: Mapping[str, int], unit: str) -> dict[str, str]:
    """Question id -> the third of the questions that its value lies in; equal values are never parted.

    Args:
        values: Question id -> value.
        unit: Stands behind the numbers, with a space before it where one belongs there.
    """
    ordered = sorted(values.values())
    n = len(ordered)
    ends = [ordered[-(-n * part // 3) - 1] for part in (1, 2)] if n else []
    places = {qa_id: sum(value > end for end in ends) for qa_id, value in values.items()}
    members: dict[int, list[int]] = {}
    for qa_id, place in places.items():
        members.setdefault(place, []).append(values[qa_id])
    names = {place: _range(min(own), max(own), ordered, unit) for place, own in members.items()}
    return {qa_id: names[place] for qa_id, place in places.items()}


def _range(low: int, high: int, ordered: Sequence[int], unit: str) -> str:
    if low == high:
        return f"{low}{unit}"
    if low == ordered[0] and high < ordered[-1]:
        return f"up to {high}{unit}"
    if high == ordered[-1] and low > ordered[0]:
        return f"{low}{unit} or more"
    return f"{low} to {high}{unit}"
