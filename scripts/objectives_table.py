"""Writes the tables of docs/objectives.md from the classes; `--check` only says whether they are stale.

python scripts/objectives_table.py
python scripts/objectives_table.py --check
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raglift import plugins
from raglift.artifacts import write_atomic

PAGE = Path(__file__).parents[1] / "docs" / "objectives.md"


def tables() -> dict[str, str]:
    """Name of a pair of markers -> the Markdown table between them."""
    objectives, teachers = (
        [(name, plugins.load(kind, name)) for name in plugins.names(kind)] for kind in ("objective", "teacher")
    )
    by_target = sorted(objectives, key=lambda entry: entry[1].target)
    kinds = [(f"`{name}`", made.target, made.when, made.paper) for name, made in by_target]
    said = [(f"`{name}`", made.when, made.paper) for name, made in teachers]
    return {
        "objectives": _table(("objective", "model", "when to use it", "paper"), kinds),
        "settings": _settings("objective", by_target),
        "teachers": _table(("teacher", "when to use it", "paper"), said),
        "teachers' settings": _settings("teacher", teachers),
    }


def _settings(kind: str, entries: Sequence[tuple[str, Any]]) -> str:
    rows = []
    for name, made in entries:
        for field, about in made.model_fields.items():
            default = "must be given" if about.is_required() else _default(about.get_default())
            rows.append((f"`{name}`", f"`{field}`", default, about.description))
    return _table((kind, "setting", "default", "meaning"), rows)


def _default(value: Any) -> str:
    if hasattr(value, "name"):  # another plug-in
        return str(value.name)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else json.dumps(value).strip('"')


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def renewed(text: str) -> str:
    """`text` with each table between its markers.

    Raises:
        ValueError: A marker is missing or repeated.
    """
    for name, table in tables().items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE.name} must hold {begin} and then {end}, once each")
        before, after = text.partition(begin)[0], text.partition(end)[2]
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Renew the tables, or with `--check` return 1 if that would change them."""
    parser = argparse.ArgumentParser(description="Write docs/objectives.md's tables from the classes.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a table is stale")
    arguments = parser.parse_args(argv)
    text = PAGE.read_text("utf-8")
    fresh = renewed(text)
    if arguments.check:
        if fresh != text:
            print(f"The tables of {PAGE.name} are stale: run python scripts/objectives_table.py", file=sys.stderr)
        return int(fresh != text)
    if fresh != text:
        write_atomic(PAGE, fresh.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
