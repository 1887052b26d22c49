"""JSON Lines: a document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from raglift.corpus.readers import _rows
from raglift.corpus.readers._reader import DAMAGED, TOO_DEEP, Limits, Piece, Reader, UnreadableError
from raglift.corpus.readers._text import decode


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """A document a line, which is an object or a text.

    Raises:
        UnreadableError: A line is neither.
    """
    yield from _rows.pieces(_lines(decode(data, encoding)))


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_int=_rows.Number, parse_float=_rows.Number)
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair, escaped, is no text
        except ValueError as error:
            # The words of an encoding error say nothing to people, and quote the text.
            what = error.msg if isinstance(error, json.JSONDecodeError) else "half of a surrogate pair"
            raise UnreadableError(DAMAGED, f"Line {number} is not JSON: {what}.") from error
        except RecursionError as error:
            raise UnreadableError(TOO_DEEP, f"Line {number}.") from error
        if not isinstance(value, dict | str):
            raise UnreadableError(DAMAGED, f"Line {number} is neither an object nor a text.")
        yield number, value if isinstance(value, dict) else {"text": value}


PLUGIN = Reader((".jsonl", ".ndjson"), read, ("application/jsonl", "application/x-ndjson"))
