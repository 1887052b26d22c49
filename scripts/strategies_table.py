"""Writes README's table of strategies from the strategy classes; `--check` only says whether it is stale.

python scripts/strategies_table.py
python scripts/strategies_table.py --check
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from marked_tables import markdown, renew
from raglift import plugins

PAGE = Path(__file__).parents[1] / "README.md"
COLUMNS = ("strategy", "axis", "targets", "approach", "when to use it", "paper")


def tables() -> dict[str, str]:
    """Name of a pair of markers -> the Markdown table between them: one row a strategy, by axis and then by name."""
    strategies = [(name, plugins.load("strategy", name)) for name in plugins.names("strategy")]
    rows = [
        (f"`{name}`", s.axis, ", ".join(sorted(s.targets)), s.approach, s.when, s.paper)
        for name, s in sorted(strategies, key=lambda entry: (entry[1].axis != "parameters", entry[1].axis, entry[0]))
    ]
    return {"strategies": markdown(COLUMNS, rows)}


def main(argv: Sequence[str] | None = None) -> int:
    """Renew the table, or with `--check` return 1 if that would change it."""
    return renew(argv, tables(), PAGE, "strategies_table.py")


if __name__ == "__main__":
    sys.exit(main())
