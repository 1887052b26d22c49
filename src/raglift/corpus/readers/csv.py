"""Tables of comma-, semicolon- or tab-separated values: a document a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice

from raglift.corpus.readers import _rows
from raglift.corpus.readers._reader import DAMAGED, Limits, Piece, Reader, UnreadableError
from raglift.corpus.readers._text import decode

_DELIMITERS = ",;\t|"
_SAMPLE = 20
_COLUMNS = 2000


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """A document a row, under the names of the first row.

    Raises:
        UnreadableError: A quote is never closed, or a row has more fields than the first one.
    """
    text = decode(data, encoding)
    csv.field_size_limit(limits.characters)
    yield from _rows.pieces(_table(text.replace("\x00", ""), _delimiter(text)))


def _table(text: str, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    # Python's own dialect detection is quadratic in long fields.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for number, row in enumerate(rows, 0):
            if not any(field.strip() for field in row):
                continue
            if names is None:
                names = _names(row)
            elif len(row) > len(names):
                raise UnreadableError(
                    DAMAGED, f"Row {number} has {len(row)} fields; the first line names {len(names)} columns."
                )
            else:
                yield number, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise UnreadableError(DAMAGED, f"Line {rows.line_num}: {error}.") from error


def _names(row: list[str]) -> list[str]:
    if len(row) > _COLUMNS:
        raise UnreadableError(DAMAGED, f"The first line names more than {_COLUMNS} columns.")
    names = [name.strip() or f"column {place}" for place, name in enumerate(row, 1)]
    if len(set(names)) < len(names):
        raise UnreadableError(DAMAGED, "The first line names a column twice.")
    return names


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first lines into most columns, the same number in each."""
    head = list(islice(io.StringIO(text), _SAMPLE))

    def columns(delimiter: str) -> int:
        try:
            widths = {len(row) for row in csv.reader(head, delimiter=delimiter) if row}
        except csv.Error:
            return 0
        return min(widths, default=0) if len(widths) == 1 else min(widths, default=0) - 1

    return max(_DELIMITERS, key=columns)


PLUGIN = Reader((".csv", ".tsv"), read, ("text/csv", "text/tab-separated-values"))
