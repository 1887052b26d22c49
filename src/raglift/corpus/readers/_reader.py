"""What a document format's reader is. Nothing here imports more than the standard library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost; a file that costs more is left out with that reason.

    Attributes:
        seconds: Wall-clock time for parsing it.
        memory_mb: Megabytes of memory of the process that parses it.
        file_mb: Its size in megabytes, and that of what is unpacked from it.
        characters: Characters of text that it gives.
        documents: Documents that it gives (rows of a table, lines of JSON).
    """

    seconds: float = 120.0
    memory_mb: int = 1024
    file_mb: int = 64
    characters: int = 20_000_000
    documents: int = 1_000_000

    @property
    def file_bytes(self) -> int:
        """`file_mb` in bytes."""
        return self.file_mb * 1_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of a file. Pieces of one `key` that follow each other are one document, a blank line between them."""

    text: str
    key: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


class UnreadableError(Exception):
    """Why a file is left out.

    Args:
        reason: A few constant words, which are counted.
        detail: What was found, without anything that differs from run to run.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


EMPTY = "empty"
DAMAGED = "damaged, or not of its format"
TOO_LARGE = "larger than reading.file_mb"
TOO_LONG = "more text than reading.characters"
TOO_MANY = "more documents than reading.documents"
TOO_DEEP = "nested too deeply"
TOO_SLOW = "took longer than reading.seconds"
TOO_HUNGRY = "needed more memory than reading.memory_mb"
UNREACHABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Reader:
    """A document format.

    Attributes:
        suffixes: Endings of its files, in lower case, with the dot.
        read: From a file's bytes to its text, piece by piece, so that what grows without end is stopped in time. It
            runs in a process of its own, may raise anything, and says `UnreadableError` where it knows better. The
            second argument is the encoding that the file's surroundings declare, if any.
        media_types: What a web server calls the format.
    """

    suffixes: tuple[str, ...]
    read: Callable[[bytes, Limits, str | None], Iterator[Piece]]
    media_types: tuple[str, ...] = ()
