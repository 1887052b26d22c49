"""The report's view of a model's further trainings: a table of learning rates, and the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raglift.report.forest import finite

_BASE = "base"
_NUMBERS = ("value", "ci_low", "ci_high")


def view(part: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of a training's `sweep`, `recipe`, `curve` and `test`, as report.json holds them.

    Returns:
        `sweep` and `curve`, rows as they are; `recipe`, its record; `figures`, the learning curve on each
        set of questions.
    """
    points = [row for row in part.get("curve") or [] if finite(row.get("share")) is not None]
    base = next((row.get("dev") for row in part.get("candidates") or [] if row.get("name") == _BASE), None)
    dev = {_BASE: {"value": base}, **{str(row["share"]): {"value": row.get("dev")} for row in points}}
    shares = [row["share"] for row in points]
    found = [_figure("Development score", shares, dev)]
    test = part.get("test") or {}
    for name, cells in sorted((test.get("sets") or {}).items()):
        found.append(_figure(f"{test.get('metric', '')}, {name} test questions", shares, cells))
    figures = [figure for figure in found if points and figure]
    return {
        "sweep": part.get("sweep") or [],
        "recipe": part.get("recipe") or {},
        "curve": points,
        "figures": figures,
    }


def _figure(title: str, shares: Sequence[float], cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """A line over the shares of the data from the base, at 0, on, in percent of its plot, y downward; None for nothing.

    Args:
        cells: "base" or a share, as text -> `value` and, where there is an interval, `ci_low` and `ci_high`.
    """
    found = []
    for share, name in [(0.0, _BASE), *((share, str(share)) for share in sorted(shares))]:
        numbers = {key: finite((cells.get(name) or {}).get(key)) for key in _NUMBERS}
        if numbers["value"] is not None:
            found.append((share, numbers))
    every = [number for _, numbers in found for number in numbers.values() if number is not None]
    if not every:
        return None
    low, high = min(every), max(every)

    def height(number: float | None) -> float | None:
        return None if number is None else round(94 - 88 * (number - low) / (high - low or 1), 2)

    points = [
        {"share": share, "x": round(2 + 96 * share, 2), **numbers, "heights": [height(n) for n in numbers.values()]}
        for share, numbers in found
    ]
    return {"title": title, "points": points, "low": low, "high": high}
