"""What the scripts share that write tables of the pages from the classes: each table stands between two markers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from raglift.artifacts import write_atomic


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def markers(name: str) -> tuple[str, str]:
    """What stands before a table and after it."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def renewed(text: str, tables: Mapping[str, str], page: Path) -> str:
    """`text` with each table between its markers.

    Args:
        tables: Name of a pair of markers -> the table between them.
        page: Where the text is from.

    Raises:
        ValueError: A marker is missing, repeated, or in the wrong order.
    """
    for name, table in tables.items():
        begin, end = markers(name)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed or begin in rest or end in after or end in before:
            raise ValueError(f"{page.name} must hold {begin} and then {end}, once each")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def renew(argv: Sequence[str] | None, tables: Mapping[str, str], page: Path, script: str) -> int:
    """Renew a page's tables, or with `--check` return 1 if that would change them."""
    parser = argparse.ArgumentParser(description=f"Write the tables of {page.name} from the classes.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a table is stale")
    arguments = parser.parse_args(argv)
    text = page.read_text("utf-8")
    fresh = renewed(text, tables, page)
    if arguments.check:
        if fresh != text:
            print(f"The tables of {page.name} are stale: run python scripts/{script}", file=sys.stderr)
        return int(fresh != text)
    if fresh != text:
        write_atomic(page, fresh.encode("utf-8"))
    return 0
