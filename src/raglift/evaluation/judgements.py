"""What a question's evidence says is relevant: passages, or whole documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raglift.records import QAPair


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was found for a question, by the ids of the chunk and of its document."""

    chunk_id: str
    document_id: str


def on_chunks(question: QAPair) -> bool:
    """Whether all evidence names its passage; one that does not is about a whole document."""
    return all(evidence.chunk_id is not None for evidence in question.evidence)


def grades(question: QAPair) -> dict[str, int]:
    """Chunk or document id -> grade, the highest where evidence repeats."""
    chunks = on_chunks(question)
    found: dict[str, int] = {}
    for evidence in question.evidence:
        unit = evidence.chunk_id if chunks and evidence.chunk_id is not None else evidence.document_id
        found[unit] = max(found.get(unit, 0), evidence.grade)
    return found


def units(question: QAPair, passages: Sequence[Passage]) -> list[str]:
    """The ids by which passages are judged for this question, in their order: of their chunks or of their documents."""
    by_chunk = on_chunks(question)
    return [passage.chunk_id if by_chunk else passage.document_id for passage in passages]
