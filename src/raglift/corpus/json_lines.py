"""JSON Lines that a person wrote: a value a line, and which line it is that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raglift.errors import UserError


def json_lines(text: str, path: Path, fix: str = "") -> Iterator[tuple[int, str, Any]]:
    """(Number, line, value) of every line that is not blank; lines are counted from 1.

    Args:
        text: What the file holds.
        path: Where it is, for the message.
        fix: What a line should be.

    Raises:
        UserError: A line is not JSON, is nested too deeply, or holds half a surrogate pair, which is no text.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number} is not JSON.", str(error), fix) from error
        yield number, line, value
