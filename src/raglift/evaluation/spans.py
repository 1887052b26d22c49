"""Recall and precision of a ranking by characters, so that passages of any length and cut can be compared.

Passages of another cut are other units, and R@5 over them answers another question. The characters of the documents
stay the same (Smith & Troynikov 2024, "Evaluating Chunking Strategies for Retrieval", there by tokens).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from raglift.config_fields import SPAN_METRIC
from raglift.evaluation.judgements import on_chunks
from raglift.records import QAPair

Span: TypeAlias = tuple[str, int, int]
"""Document id, start, end: the characters `start:end` of a document."""
Cover: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""Document id -> disjoint (start, end), rising: a set of characters."""


@dataclass(frozen=True, slots=True)
class SpanMeasure:
    """`SpanRecall@cutoff` or `SpanPrecision@cutoff`.

    The share of the evidence's characters that the first `cutoff` passages hold, or the share of those passages'
    characters that are evidence. A character that several passages hold counts once. Both lie in [0, 1].
    """

    recall: bool
    cutoff: int

    def value(self, evidence: Cover, passages: Iterable[Span]) -> float:
        """The measure of one ranking, best passage first; 0 where it is empty.

        Args:
            evidence: At least one character.
            passages: Without repetitions.
        """
        found = cover(list(passages)[: self.cutoff])
        whole = size(evidence if self.recall else found)
        return shared(evidence, found) / whole if whole else 0.0


def measure(name: str) -> SpanMeasure | None:
    """The measure of that name, or None where it is another kind of metric."""
    found = SPAN_METRIC.fullmatch(name)
    return SpanMeasure(found[1] == "SpanRecall", int(found[2])) if found else None


def evidence_of(question: QAPair) -> Cover:
    """The characters that are evidence, of whatever grade above 0; none where a judgement does not say which."""
    relevant = [item for item in question.evidence if item.grade > 0]
    if not on_chunks(question) or any(item.start >= item.end for item in relevant):
        return {}
    return cover((item.document_id, item.start, item.end) for item in relevant)


def cover(spans: Iterable[Span]) -> Cover:
    """The characters that lie in at least one span."""
    found: dict[str, list[tuple[int, int]]] = {}
    for document, start, end in sorted(spans):
        parts = found.setdefault(document, [])
        if parts and start <= parts[-1][1]:
            parts[-1] = parts[-1][0], max(end, parts[-1][1])
        else:
            parts.append((start, end))
    return found


def size(characters: Cover) -> int:
    """How many there are."""
    return sum(end - start for parts in characters.values() for start, end in parts)


def shared(one: Cover, other: Cover) -> int:
    """How many characters both have."""
    return sum(
        max(0, min(end, right) - max(start, left))
        for document, parts in one.items()
        for start, end in parts
        for left, right in other.get(document, ())
    )
