"""Which of the judged passages an engine's passage is: by its ids, by a quote in it, or by the document it is from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from raglift.assess.judged import Judged
from raglift.assess.replies import Passage
from raglift.evaluation.judgements import on_chunks
from raglift.records import QAPair

_SHORTEST = 20
"""Characters, white space apart; a shorter text stands in many documents."""


@dataclass(frozen=True, slots=True)
class Match:
    """The ids under which a passage is ranked, and whether it is one that the question set knows."""

    units: tuple[str, ...]
    known: bool


class Matcher:
    """Finds the chunk or document that a passage is."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        self._quotes = {key: [squeezed(text) for text in texts] for key, texts in judged.quotes.items()}
        self._texts = {document: squeezed(text) for document, text in judged.texts.items()}
        self._holders: dict[str, tuple[str, ...]] = {}

    def match(self, passage: Passage, question: QAPair) -> Match:
        """The passage as the question's evidence would name it.

        A question whose evidence names chunks: the chunk of that id, else every judged chunk of which the passage holds
        a quote. One whose evidence is about documents: the document that a name of the passage names, else the one
        whose text holds the passage's. Else a passage stands for itself, and is not relevant.
        """
        if question.evidence and on_chunks(question):
            chunk = next((name for name in passage.names if name in self._judged.chunks), None)
            units = (chunk,) if chunk is not None else self._quoted(passage, question)
            if units:
                return Match(units, True)
            return Match((own_name(passage),), self._document(passage, question) is not None)
        home = self._document(passage, question)
        return Match((home or own_name(passage),), home is not None)

    def _quoted(self, passage: Passage, question: QAPair) -> tuple[str, ...]:
        text = squeezed(passage.text)
        judged = dict.fromkeys(item.chunk_id for item in question.evidence if item.chunk_id is not None)
        return tuple(
            unit
            for unit in judged
            if any(quote in text for quote in self._quotes.get((question.id, unit), ()) if quote)
        )

    def _document(self, passage: Passage, question: QAPair) -> str | None:
        for name in passage.names:
            for tail in _tails(name):
                if tail in self._judged.names:
                    return self._judged.names[tail]
            if name in self._judged.chunks:
                return self._judged.chunks[name]
        holders = self._holding(passage.text)
        wanted = {item.document_id for item in question.evidence}
        # A copy of a relevant document is none the worse for being the copy.
        return next((holder for holder in holders if holder in wanted), holders[0] if holders else None)

    def _holding(self, text: str) -> tuple[str, ...]:
        if text not in self._holders:
            short = squeezed(text)
            enough = len(short) >= _SHORTEST
            self._holders[text] = tuple(d for d, whole in self._texts.items() if short in whole) if enough else ()
        return self._holders[text]


def own_name(passage: Passage) -> str:
    """The id of a passage that is none of the judged ones."""
    return f"other {passage.names[0] if passage.names else squeezed(passage.text)[:200]}"


def squeezed(text: str) -> str:
    """The text without white space, which splitters and readers change."""
    return re.sub(r"\s+", "", text)


def _tails(name: str) -> Iterator[str]:
    """The name, and of a path what is left without its first folders: readers give absolute ones."""
    yield name
    parts = name.replace("\\", "/").split("/")
    for start in range(1, len(parts)):
        yield "/".join(parts[start:])
