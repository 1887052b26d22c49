"""Writes README's table of strategies from the strategy classes; `--check` only says whether it is stale.

python scripts/strategies_table.py
python scripts/strategies_table.py --check
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from raglift import plugins
from raglift.artifacts import write_atomic

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- strategies:begin -->", "<!-- strategies:end -->"
COLUMNS = ("strategy", "axis", "targets", "approach", "when to use it", "paper")


def table() -> str:
    """The Markdown table, one row a strategy, by axis and then by name."""
    strategies = [(name, plugins.load("strategy", name)) for name in plugins.names("strategy")]
    rows = [
        (f"`{name}`", s.axis, ", ".join(sorted(s.targets)), s.approach, s.when, s.paper)
        for name, s in sorted(strategies, key=lambda entry: (entry[1].axis != "parameters", entry[1].axis, entry[0]))
    ]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def renewed(text: str) -> str:
    """`text` with the table between the markers.

    Raises:
        ValueError: A marker is missing, repeated, or in the wrong order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after or END in before:
        raise ValueError(f"{README.name} must hold {BEGIN} and then {END}, once each")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Renew the table, or with `--check` return 1 if that would change it."""
    parser = argparse.ArgumentParser(description="Write README's table of strategies from the strategy classes.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the table is stale")
    arguments = parser.parse_args(argv)
    text = README.read_text("utf-8")
    fresh = renewed(text)
    if arguments.check:
        if fresh != text:
            print(f"The strategies in {README.name} are stale: run python scripts/strategies_table.py", file=sys.stderr)
        return int(fresh != text)
    if fresh != text:
        write_atomic(README, fresh.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
