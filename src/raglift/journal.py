"""An append-only file of finished units of work, so that an interrupted stage goes on from the last one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Unit name -> what it produced, one JSON line each, on disk before the next unit begins.

    A line that a crash cut short, and everything after it, is forgotten and done again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._units: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    unit, value = json.loads(line)
                except (ValueError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                self._units[unit] = value
                sound += len(line)
        self._file = path.open("ab")
        self._file.truncate(sound)

    def __contains__(self, unit: str) -> bool:
        return unit in self._units

    def __getitem__(self, unit: str) -> Any:
        return self._units[unit]

    def values(self) -> list[Any]:
        """What all finished units produced, in the order in which they were finished."""
        return list(self._units.values())

    def append(self, unit: str, value: Any) -> None:
        """Record a finished unit; it is on disk when this returns."""
        self._file.write((json.dumps([unit, value], ensure_ascii=False) + "\n").encode("utf-8"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._units[unit] = json.loads(json.dumps(value))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
