"""From rows with named fields, of a table or of JSON Lines, to documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from raglift.corpus.readers._reader import DAMAGED, Piece, UnreadableError

_TEXT = ("text", "content", "body")
_ID = ("_id", "id")
_LONGEST_ID = 200

repeated = 0
"""Rows that `pieces` passed over because an earlier one has their id; who wants to tell people sets it to 0 before."""


class Number(str):
    """A number of JSON, as it was written: 1.50 stays 1.50, and 5000 digits stay."""


def pieces(rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Piece]:
    """A document a row: its `text` (`content`, `body`) under its `title`, or `field: value` lines where it has none.

    Args:
        rows: Place of the row in its file, from 1, and its fields. `_id` or `id` names the document, else its place.
            Of rows with one name the first stays.

    Raises:
        UnreadableError: A row's name is too long for one.
    """
    global repeated
    seen: set[str] = set()
    for number, row in rows:
        named = {str(key).strip().lower(): value for key, value in row.items()}
        # A name of its own kind, where rows have ids: another row's id may be this row's place.
        place = f"row {number}" if any(name in named for name in _ID) else str(number)
        key = next((str(named[name]) for name in _ID if named.get(name) not in (None, "")), place)
        if len(key) > _LONGEST_ID:
            what = f"has an id of more than {_LONGEST_ID} characters that begins"
            raise UnreadableError(DAMAGED, f"Row {number} {what} {key[:50]!r}.")
        if key in seen:
            repeated += 1
            continue
        seen.add(key)
        title = _plain(named.get("title")).strip()
        body = next((_plain(named[name]) for name in _TEXT if named.get(name) not in (None, "")), "")
        if body:
            text = f"{title}\n{body}" if title else body
        else:
            fields = ((name, _plain(value).strip()) for name, value in row.items() if name.lower() not in _ID)
            text = "\n".join(f"{name}: {value}" if name else value for name, value in fields if value)
        yield Piece(text, key, {"title": title} if title else {})


def _plain(value: Any) -> str:
    """A field as text: lists by line, what is nested deeper as JSON."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    """JSON in which numbers stand as they were written."""
    if isinstance(value, dict):
        inner = ", ".join([f"{json.dumps(key, ensure_ascii=False)}: {_json(item)}" for key, item in value.items()])
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join([_json(item) for item in value])}]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)
