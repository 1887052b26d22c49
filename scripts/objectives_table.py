"""Writes the tables of docs/objectives.md from the classes; `--check` only says whether they are stale.

python scripts/objectives_table.py
python scripts/objectives_table.py --check
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marked_tables import markdown, renew
from raglift import plugins

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
        "objectives": markdown(("objective", "model", "when to use it", "paper"), kinds),
        "settings": _settings("objective", by_target),
        "teachers": markdown(("teacher", "when to use it", "paper"), said),
        "teachers' settings": _settings("teacher", teachers),
    }


def _settings(kind: str, entries: Sequence[tuple[str, Any]]) -> str:
    rows = []
    for name, made in entries:
        for field, about in made.model_fields.items():
            default = "must be given" if about.is_required() else _default(about.get_default())
            rows.append((f"`{name}`", f"`{field}`", default, about.description))
    return markdown((kind, "setting", "default", "meaning"), rows)


def _default(value: Any) -> str:
    if hasattr(value, "name"):  # another plug-in
        return str(value.name)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else json.dumps(value).strip('"')


def main(argv: Sequence[str] | None = None) -> int:
    """Renew the tables, or with `--check` return 1 if that would change them."""
    return renew(argv, tables(), PAGE, "objectives_table.py")


if __name__ == "__main__":
    sys.exit(main())
