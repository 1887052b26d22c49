"""The command that says where tuning hurt: slices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raglift.cli_output import Answer, Table, number

AddForRun = Callable[..., argparse.ArgumentParser]
_COLUMNS = ("by", "slice", "delta", "95% interval", "p", "n", "documents", "decision")


def add_commands(add_for_run: AddForRun) -> None:
    """Put `slices` on the parser."""
    about = "Show where tuning hurt and where it helped: by kind, length, document and difficulty of the questions."
    sub = add_for_run("slices", _slices, about)
    sub.add_argument("--set", metavar="NAME", help="a question set, such as human (default: all)")
    sub.add_argument("--arm", help="the arm that is held against the base (default: every trained one)")
    sub.add_argument("--metric", metavar="NAME", help="a metric that the run scored (default: the headline metrics)")
    about = "questions that a slice must have to be judged (default: 10)"
    sub.add_argument("--least", type=int, metavar="N", help=about)
    sub.add_argument("--quiet", action="store_true", help="show no progress")


def _slices(arguments: argparse.Namespace) -> Answer:
    from raglift.serve.result import read_run
    from raglift.serve.slices import slices_of

    result = read_run(arguments.run, arguments.workspace)
    wanted = {"question_set": arguments.set, "arm": arguments.arm, "metric": arguments.metric}
    least = {} if arguments.least is None else {"least": arguments.least}
    found = slices_of(result, **wanted, **least, quiet=arguments.quiet)
    return Answer(found, slice_parts(found, arguments.arm or result.chosen_arm))


def slice_parts(slices: Mapping[str, Any], chosen: str | None) -> list[str | Table]:
    """What the slices come to, the certain harms of every arm, and every slice of one arm.

    Args:
        chosen: The arm that is shown in full, if it has slices.
    """
    from raglift.report.slice_view import focus

    parts, arm = harm_parts(slices), focus(slices, chosen)
    for question_set, metric in dict.fromkeys((row["question_set"], row["metric"]) for row in slices["rows"]):
        own = [r for r in slices["rows"] if (r["question_set"], r["metric"], r["arm"]) == (question_set, metric, arm)]
        if own:
            title = f"{arm} against {own[0]['against']}: {metric}, {question_set} questions"
            parts.append(Table(title, _COLUMNS, [_cells(row) for row in own]))
    return [*parts, *(f"{note['question_set']}: {note['note']}." for note in _about(slices["notes"], arm))]


def harm_parts(slices: Mapping[str, Any]) -> list[str | Table]:
    """What the slices come to, and the certain harms."""
    from raglift.report.slice_view import harms, told

    certain = harms(slices)
    rows = [(row["question_set"], row["metric"], ", ".join(row["arms"]), *_cells(row)) for row in certain]
    table = Table("certain harms", ("questions", "metric", "arms", *_COLUMNS), rows)
    return [told(slices), table] if rows else [told(slices)]


def _about(notes: Sequence[Mapping[str, str]], arm: str | None) -> list[Mapping[str, str]]:
    return [note for note in notes if arm is None or note["arm"] in ("", arm)]


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    judged = row["decision"] != "not judged"
    delta = "n/a" if row["delta"] is None else f"{row['delta']:+.3f}"
    interval = f"{row['ci_low']:+.3f} {row['ci_high']:+.3f}" if judged else ""
    decision = row["decision"] if judged else f"not judged: {row['why']}"
    return (
        row["dimension"],
        row["slice"],
        delta,
        interval,
        number(row["p"]),
        row["n"],
        row["documents"],
        decision,
    )
