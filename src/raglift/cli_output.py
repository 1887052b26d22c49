"""What a command prints: one JSON document, or text and tables that fit the terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under column names; `title` may be empty."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: `value` for `--json`, `parts` for people, `code` for the shell."""

    value: Any
    parts: Sequence[str | Table] = field(default_factory=list)
    code: int = 0


def score_tables(report: dict[str, Any]) -> list[str | Table]:
    """The scores of every arm with their intervals, and the differences, of a report or of `evaluate_on`."""
    tables: list[str | Table] = []
    for level in ("retrieval", "response"):
        for question_set, arms in report.get(level, {}).items():
            metrics = list(dict.fromkeys(metric for scores in arms.values() for metric in scores))
            rows = [(arm, *(_score(scores.get(metric)) for metric in metrics)) for arm, scores in arms.items()]
            tables.append(Table(f"{level}, {question_set} questions [95% interval]", ("arm", *metrics), rows))
    columns = ("questions", "metric", "arm", "against", "delta", "95% interval", "p", "detectable", "n", "decision")
    rows = [
        (
            *(verdict[key] for key in ("question_set", "metric", "arm", "against")),
            f"{verdict['delta']:+.3f}",
            f"{verdict['ci_low']:+.3f} {verdict['ci_high']:+.3f}",
            *(number(verdict[key]) for key in ("p", "detectable")),
            verdict["n"],
            verdict["decision"],
        )
        for verdict in report.get("verdicts", [])
    ]
    return [*tables, Table("differences", columns, rows)] if rows else tables


def _score(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "n/a"
    low, high, coverage = score.get("ci_low"), score.get("ci_high"), score.get("coverage")
    interval = f" [{low:.3f} {high:.3f}]" if low is not None and high is not None else ""
    return f"{score['value']:.3f}{interval}" + (f" ({coverage:.0%} scored)" if coverage not in (None, 1) else "")


def trial_tables(report: dict[str, Any]) -> list[Table]:
    """The learning rates that were tried, the learning curves and the recipe, where a report has any."""
    tables = []
    for target, found in report.get("training", {}).items():
        for key, title, first in (
            ("sweep", "learning rates", ("learning_rate",)),
            ("curve", "learning curve", ("share", "examples")),
        ):
            columns = (*first, "dev", "chosen", "loss", "seconds", *(("kept",) if key == "sweep" else ()))
            rows = [[_cell(row.get(column)) for column in columns] for row in found.get(key) or ()]
            if rows:
                tables.append(Table(f"{title}, {target}", columns, rows))
        if found.get("recipe"):
            tables.append(_recipe_table(target, found["recipe"]))
    return tables


def _recipe_table(target: str, recipe: dict[str, Any]) -> Table:
    """What a recipe tried, and what it left out with the reason in the last column."""
    columns = ("tried", "dev", "chosen", "against", "delta", "ci_low", "ci_high", "p", "seconds", "kept")
    rows = [[_cell(row.get(column)) for column in columns] for row in recipe["trials"]]
    rows += [[row["tried"], *[""] * (len(columns) - 2), f"not tried: {row['why']}"] for row in recipe["left_out"]]
    return Table(f"recipe, {target}: {', '.join(recipe['taken']) or 'the settings as written'}", columns, rows)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)


def number(value: float | None, digits: int = 3) -> str:
    """The value with so many decimals; nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"


def as_json(value: Any) -> str:
    """One JSON document, in characters that standard output can carry."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=1, ensure_ascii=not utf8)


def as_text(parts: Sequence[str | Table]) -> str:
    """Text for people: as wide as the terminal, or as wide as it takes where the output is no terminal."""
    from rich import box
    from rich import table as rich_table
    from rich.console import Console
    from rich.text import Text

    # Drawn into memory first: rich leaves the program by itself when the reader of a pipe is gone.
    terminal, buffer = sys.stdout.isatty(), io.StringIO()
    width = shutil.get_terminal_size().columns if terminal else 2000
    console = Console(file=buffer, force_terminal=terminal, width=width, highlight=False)
    for part in parts:
        if isinstance(part, str):
            console.print(part, markup=False, soft_wrap=True)
            continue
        # As Text, since a name may hold brackets, which rich takes for markup in a plain string.
        title = Text(part.title, style="table.title") if part.title else None
        table = rich_table.Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for place, column in enumerate(part.columns):
            table.add_column(Text(column), overflow="fold", no_wrap=place == 0)
        for row in part.rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip("\n")


def write(text: str) -> None:
    """Print to standard output; a reader that has seen enough (`| head`) is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit finds no pipe
