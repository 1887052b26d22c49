"""Where a quote stands: character spans in documents, and the chunks that show them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from raglift.records import Chunk, Document, Evidence


class Locator:
    """Finds text in a corpus regardless of how white space runs, and the chunks that hold it.

    A quote that stands in several documents is evidence in each of them: a retriever that brings another copy of the
    same sentence is not wrong.
    """

    def __init__(self, documents: Sequence[Document], chunks: Sequence[Chunk]) -> None:
        self._squeezed = {document.id: _Squeezed(document.text) for document in documents}
        self._chunks: dict[str, list[Chunk]] = {document.id: [] for document in documents}
        for chunk in chunks:
            self._chunks[chunk.document_id].append(chunk)

    def find(self, quote: str) -> tuple[Evidence, ...]:
        """One `Evidence` for each chunk that holds at least half of an occurrence of `quote`."""
        found = []
        for document_id, squeezed in self._squeezed.items():
            for start, end in squeezed.find(quote):
                found += [
                    Evidence(document_id, chunk.id, max(start, chunk.start), min(end, chunk.end))
                    for chunk in self._chunks[document_id]
                    if 2 * (min(end, chunk.end) - max(start, chunk.start)) >= end - start
                ]
        return tuple(found)


class _Squeezed:
    """A text without its white space, and the way back to the offsets."""

    def __init__(self, text: str) -> None:
        self._starts: list[int] = []
        self._positions: list[int] = []
        parts = []
        length = 0
        for match in re.finditer(r"\S+", text):
            self._starts.append(length)
            self._positions.append(match.start())
            parts.append(match.group())
            length += len(match.group())
        self._text = "".join(parts)

    def _offset(self, position: int) -> int:
        run = bisect_right(self._starts, position) - 1
        return self._positions[run] + position - self._starts[run]

    def find(self, quote: str) -> Iterator[tuple[int, int]]:
        needle = re.sub(r"\s+", "", quote)
        at = self._text.find(needle) if needle else -1
        while at >= 0:
            yield self._offset(at), self._offset(at + len(needle) - 1) + 1
            at = self._text.find(needle, at + 1)
