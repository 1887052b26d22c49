"""Plain text."""

from __future__ import annotations

from collections.abc import Iterator

from raglift.corpus.readers._reader import Limits, Piece, Reader
from raglift.corpus.readers._text import decode


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """The whole file as one document."""
    yield Piece(decode(data, encoding))


PLUGIN = Reader((".txt",), read, ("text/plain",))
