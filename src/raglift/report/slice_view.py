"""What is shown of slices: a sentence, the certain harms of every arm, and every slice of one arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raglift.report.forest import draw_axis, draw_row, fit_axis

_FULLEST = ("tuned_all", "reranked", "tuned_both", "tuned_embedding", "tuned_llm", "tuned_hybrid")
_NOT_JUDGED = "not judged"


def focus(slices: Mapping[str, Any], chosen: str | None) -> str | None:
    """The arm whose slices are shown in full: the chosen one, or where that is the base the one with most tuned."""
    there = {row["arm"] for row in slices.get("rows") or []}
    return next((arm for arm in (chosen, *_FULLEST, *sorted(there)) if arm in there), None)


def told(slices: Mapping[str, Any]) -> str:
    """What the slices come to, in a sentence or two."""
    rows = slices.get("rows") or []
    judged = [row for row in rows if row["decision"] != _NOT_JUDGED]
    if not rows:
        return "There is nothing to look at by slices: no arm that is looked at scores otherwise than the base."
    if not judged:
        return (
            f"No slice could be judged: each has fewer than {slices['least']} questions, or is about fewer than "
            f"{slices['fewest_documents']} documents."
        )
    worse = sum(row["decision"] == "worse" for row in judged)
    if worse:
        arms = len({row["arm"] for row in rows})
        over = f", over {arms} arms" if arms > 1 else ""
        return f"Tuning certainly hurt in {worse} of the {len(judged)} slices that could be judged{over}."
    return (
        f"Tuning certainly hurt in none of the {len(judged)} slices that could be judged. That is no proof that it "
        "hurts nowhere: the slices are small."
    )


def harms(slices: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The certain harms; arms with the same figures in a slice, as those that retrieve alike, in one row of `arms`."""
    grouped: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in slices.get("rows") or []:
        if row["decision"] == "worse":
            key = tuple(row[name] for name in ("question_set", "metric", "dimension", "slice", "delta", "ci_low", "n"))
            grouped.setdefault(key, {**row, "arms": []})["arms"].append(row["arm"])
    return list(grouped.values())


def view(slices: Mapping[str, Any], chosen: str | None, sets: Sequence[str] = ()) -> dict[str, Any]:
    """What the template shows.

    Args:
        slices: As `raglift.report.slices.build` gives them; empty where a report has none.
        chosen: The arm that would be released.
        sets: Question sets in the order in which they are shown.

    Returns:
        `told`, `harms`, the `arm` that is shown in full with a panel for each question set and metric, what the
        `dimensions` are, and `notes` on what is missing; empty where a report has no slices.
    """
    if not slices:
        return {}
    arm = focus(slices, chosen)
    rows = [row for row in slices.get("rows") or [] if row["arm"] == arm]
    order = {name: place for place, name in enumerate(sets)}
    tables = sorted(
        dict.fromkeys((row["question_set"], row["metric"]) for row in rows),
        key=lambda table: order.get(table[0], len(order)),
    )
    found = [(*key, [row for row in rows if (row["question_set"], row["metric"]) == key]) for key in tables]
    notes = [note for note in slices.get("notes") or [] if note.get("arm") in ("", None, arm)]
    return {
        "told": told(slices),
        "harms": harms(slices),
        "arm": arm,
        "others": sorted({row["arm"] for row in slices.get("rows") or []} - {arm}),
        "panels": [_panel(*table) for table in found],
        "dimensions": slices.get("dimensions") or {},
        "notes": list(dict.fromkeys(f"{note['question_set']}: {note['note']}" for note in notes)),
    }


def _panel(question_set: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One table: judged slices with their drawing on one axis, harms first, and those that are not judged below."""
    judged = [dict(row) for row in rows if row["decision"] != _NOT_JUDGED]
    axis = fit_axis(judged)
    return {
        "question_set": question_set,
        "metric": metric,
        "against": rows[0]["against"],
        "axis_svg": draw_axis(axis),
        "judged": [{**row, "svg": draw_row(row, axis)} for row in judged],
        "others": [row for row in rows if row["decision"] == _NOT_JUDGED],
    }
