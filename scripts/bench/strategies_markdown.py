"""The tables of measured rows: differences to the base with intervals, paired by question and clustered by document."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from raglift.evaluation.statistics import Comparison, Resampling, compare
from raglift.records import Target

Place = tuple[str, Target, str]
Measured = Mapping[str, Any]
_QUALITY = {"embedding": "nDCG@10", "llm": "token F1"}
_OUTSIDE = {"embedding": "nDCG@10 outside", "llm": "nats a token outside"}
_MODEL = {"embedding": "embedding model", "llm": "language model"}
_SPAN = {"embedding": 1.0, "llm": 20.0}
"""The largest difference that is possible, or, of log-probabilities, that is not cut off."""
_DIGITS = 3


def markdown(rows: Mapping[Place, Measured], counts: Mapping[str, Mapping[str, int]]) -> str:
    """A table a set and target, in the order of the rows; without the base's row there is none."""
    parts = []
    for name, target in dict.fromkeys((name, target) for name, target, _ in rows):
        here = {row: found for (*place, row), found in rows.items() if place == [name, target]}
        if "base" in here:
            lines = [f"## {name}, {_MODEL[target]}", "", _about(name, target, here["base"], counts), ""]
            parts.append("\n".join(lines + _table(here, target)))
    return "\n\n".join(parts)


def _about(name: str, target: Target, base: Measured, counts: Mapping[str, Mapping[str, int]]) -> str:
    made = counts[name]
    documents = len({base["clusters"][key] for key in base["quality"]})
    trained = f"{made['pairs']} pairs" if target == "embedding" else f"{made['examples']} examples"
    judged = f"{len(base['quality'])} questions about {documents} held-out documents"
    what = "questions" if target == "embedding" else "passages"
    return f"{trained} train; {judged} judge at home, {len(base['outside'])} {what} of the other set outside."


def _table(rows: Mapping[str, Measured], target: Target) -> list[str]:
    columns = (
        "strategy",
        _QUALITY[target],
        "less the base",
        f"{_OUTSIDE[target]}, less the base",
        "development keeps",
        "CPU seconds",
        "seconds",
        "peak memory, GB",
        "on disk, MB",
    )
    lines = [columns, ("---",) * len(columns)]
    base = rows["base"]
    for name, row in rows.items():
        mean = f"{fmean(row['quality'].values()):.{_DIGITS}f}"
        if name == "base":
            outside = f"({fmean(row['outside'].values()):.{_DIGITS}f})"
            lines.append(("base, untuned", mean, "", outside, "", "", "", "", ""))
            continue
        took = (f"{row['cpu_seconds']:.0f}", f"{row['wall_seconds']:.0f}", f"{row['peak_mb'] / 1000:.1f}")
        differences = [_signed(_difference(row, base, part, target)) for part in ("quality", "outside")]
        lines.append((_code(name), mean, *differences, kept(row, base), *took, _size(row["disk_mb"])))
    return [f"| {' | '.join(line)} |" for line in lines]


def _code(name: str) -> str:
    """Names of strategies in backticks, what is said of them without."""
    first, mark, rest = name.partition(",")
    plain, as_in, more = first.partition(" as in ")
    return " + ".join(f"`{part}`" for part in plain.split(" + ")) + as_in + more + mark + rest


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f}" if megabytes >= 10 else f"{megabytes:.1f}"


def _difference(row: Measured, base: Measured, part: str, target: Target) -> Comparison:
    span = _SPAN[target] if part == "outside" else 1.0
    return compare(row[part], base[part], Resampling(base["clusters"]), span=span)


def _signed(found: Comparison) -> str:
    delta, low, high = (f"{value:+.{_DIGITS}f}" for value in (found.delta, found.ci_low, found.ci_high))
    return f"{delta} [{low}, {high}]"


def kept(row: Measured, base: Measured) -> str:
    """What the development questions would have kept of a row."""
    return str(row["state"]) if row["dev"] > base["dev"] else "base"


def summary(rows: Mapping[Place, Measured]) -> dict[str, dict[str, Any]]:
    """Row -> its figures, without what each question was worth."""
    found: dict[str, dict[str, Any]] = {}
    for (name, target, row), measured in rows.items():
        figures = {key: value for key, value in measured.items() if key not in ("quality", "outside", "clusters")}
        figures |= {part: round(fmean(measured[part].values()), 4) for part in ("quality", "outside")}
        base = rows.get((name, target, "base"))
        if base is not None and row != "base":
            for part in ("quality", "outside"):
                lift = _difference(measured, base, part, target)
                figures[f"{part} lift"] = [round(value, 4) for value in (lift.delta, lift.ci_low, lift.ci_high)]
        found[f"{name}/{target}/{row}"] = figures
    return found
