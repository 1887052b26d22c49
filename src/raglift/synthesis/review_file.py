"""The file in which a person reviews the synthetic questions: JSON Lines, or CSV for a spreadsheet.

A correction has columns of its own. What a spreadsheet does by itself to the cells that it shows (`3-4` becomes a
date, `0.50` becomes `0.5`) then changes nothing.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raglift.artifacts import write_atomic
from raglift.errors import UserError

COLUMNS = (
    "id",
    "question",
    "answer",
    "evidence",
    "kind",
    "split",
    "verdict",
    "new_question",
    "new_answer",
    "note",
)
VERDICTS = ("accept", "reject", "")
SEPARATOR = " | "
"""Between several answers that are all right."""
_NEEDED = ("id", "verdict")
_SEPARATORS = (",", ";", "\t")
_CSV_ID = "q-"
"""Before an id in CSV: sixteen digits, or digits around an `e`, would become a number in a spreadsheet."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass(frozen=True, slots=True)
class Row:
    """A question as the reviewer sees it, and what the reviewer decided. All are texts; `line` is where it stands."""

    id: str
    question: str = ""
    answer: str = ""
    evidence: str = ""
    kind: str = ""
    split: str = ""
    verdict: str = ""
    new_question: str = ""
    new_answer: str = ""
    note: str = ""
    line: int = 0


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a new review file; the ending decides: `.csv` or `.jsonl`.

    Raises:
        UserError: Another ending, or there is a file already (its verdicts would be lost).
    """
    spreadsheet = _is_csv(path)
    if path.exists():
        raise UserError(f"{path} is there already.", "Its verdicts would be lost.", "Name another file, or move it.")
    found = [{name: asdict(row)[name] for name in COLUMNS} for row in rows]
    write_atomic(path, (_as_csv(found) if spreadsheet else _as_json_lines(found)).encode("utf-8"))


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a review file, their verdicts checked.

    Raises:
        UserError: The file is missing, or a line of it is not such a row; names the line.
    """
    path = Path(path).expanduser()
    spreadsheet = _is_csv(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line} cannot be decoded as UTF-8.",
            f"Byte {error.start} is {error.object[error.start]:#04x}.",
            "Save it again; in a spreadsheet choose 'CSV UTF-8'.",
        ) from error
    except OSError as error:
        raise UserError(
            f"The review file {path} cannot be read.", str(error), "`raglift review RUN --out FILE` writes one."
        ) from error
    rows: list[Row] = []
    first: dict[str, int] = {}
    for line, values in _csv_rows(path, text) if spreadsheet else _json_rows(path, text):
        row = _checked(path, line, values)
        if row.id in first:
            raise _wrong(path, line, f"the id {row.id!r} stands on line {first[row.id]} too", "Delete one of the rows.")
        first[row.id] = line
        rows.append(row)
    return rows


def _is_csv(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(
            f"A review file ends in .csv or .jsonl, not as {path.name!r} does.",
            "The ending says what is in it.",
            "Use .csv for a spreadsheet, .jsonl for a text editor.",
        )
    return path.suffix.lower() == ".csv"


def _as_json_lines(rows: Sequence[Mapping[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _as_csv(rows: Sequence[Mapping[str, str]]) -> str:
    buffer = io.StringIO()
    buffer.write("\ufeff")  # without it Excel takes UTF-8 for the system's old encoding
    table = csv.writer(buffer, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for row in rows:
        table.writerow([_CSV_ID + row["id"], *(_guarded(row[name]) for name in COLUMNS[1:])])
    return buffer.getvalue()


def _guarded(text: str) -> str:
    """With an apostrophe where a spreadsheet would take the text for a formula and run it."""
    return f"'{text}" if _FORMULA.match(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # 131,072 by default; a passage may be longer
    head = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=lambda mark: len(set(_names(head, mark)) & set(COLUMNS)))
    names = _names(head, separator)
    for needed in _NEEDED:
        if needed not in names:
            raise _wrong(path, 1, f"there is no column {needed!r}", f"The first line names the columns: {COLUMNS}.")
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    next(table)
    line = table.line_num + 1
    try:
        for cells in table:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(names) and any(cells[len(names) :]):
                    raise _wrong(path, line, f"it has {len(cells)} cells under {len(names)} column names")
                values = dict(zip(names, map(_unguarded, cells), strict=False))
                yield line, values | {"id": values.get("id", "").strip().removeprefix(_CSV_ID)}
            line = table.line_num + 1
    except csv.Error as error:
        raise _wrong(path, line, f"it is not CSV: {error}") from error


def _names(head: str, separator: str) -> list[str]:
    head = re.split(r"\r\n|\r|\n", head, maxsplit=1)[0]
    return [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
            json.dumps(row, ensure_ascii=False).encode("utf-8")  # half a surrogate pair, escaped, is no text
        except (ValueError, RecursionError) as error:
            raise _wrong(path, line, f"it is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise _wrong(path, line, "it is not a JSON object")
        for name in COLUMNS:
            if not isinstance(row.get(name) or "", str):
                raise _wrong(path, line, f"{name} must be text, not {row[name]!r}")
        yield line, row


def _checked(path: Path, line: int, values: Mapping[str, Any]) -> Row:
    row = Row(**{name: str(values.get(name) or "").strip() for name in COLUMNS}, line=line)
    verdict = row.verdict.lower()
    if not row.id:
        raise _wrong(path, line, "it has no id", "Rows are found by the id that `raglift review` wrote.")
    if verdict not in VERDICTS:
        near = difflib.get_close_matches(verdict, VERDICTS, n=1)
        fix = f"Did you mean {near[0]!r}?" if near else "Write accept or reject, or leave it empty."
        raise _wrong(path, line, f"the verdict is {row.verdict!r}", fix)
    if verdict == "reject" and (row.new_question or row.new_answer):
        raise _wrong(path, line, "it is both rejected and corrected", "Empty the verdict, or the correction.")
    return Row(**{name: getattr(row, name) for name in COLUMNS if name != "verdict"}, verdict=verdict, line=line)


def _wrong(path: Path, line: int, what: str, fix: str = "Mend the line.") -> UserError:
    return UserError(f"{path}:{line} is not a row of a review.", f"{what[:1].upper()}{what[1:]}.", fix)
