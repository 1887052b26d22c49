"""The command that holds tuned models against their bases outside of the run's documents: forgetting."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from raglift.cli_output import Answer, Table, number
from raglift.errors import UserError

if TYPE_CHECKING:
    from raglift.evaluation.retention import Retained
    from raglift.serve.forgetting import Forgetting, Model

AddForRun = Callable[..., argparse.ArgumentParser]


def add_commands(add_for_run: AddForRun) -> None:
    """Put `forgetting` on the parser."""
    about = "Measure what a finished run's tuned models have forgotten of what their bases could do."
    sub = add_for_run("forgetting", _forgetting, about)
    how = "a further corpus for the embedding model, in BEIR layout, about something else than the run"
    sub.add_argument("--data", type=Path, metavar="DIR", help=how)
    how = "the largest loss that does not matter, of scores from 0 to 1 and in nats a token (default: 0.05)"
    sub.add_argument("--margin", type=float, metavar="LOSS", help=how)
    sub.add_argument("--quiet", action="store_true", help="show no progress")


def _forgetting(arguments: argparse.Namespace) -> Answer:
    if arguments.data is not None and not arguments.data.is_dir():
        raise UserError(f"There is no folder {arguments.data}.", fix="--data names a folder in BEIR layout.")
    from dataclasses import asdict

    from raglift.evaluation.retention import MARGIN, check_margin

    margin = MARGIN if arguments.margin is None else arguments.margin
    check_margin(margin)
    from raglift.progress import Progress
    from raglift.serve.forgetting import measure_forgetting  # heavy: a wrong option shows before it is loaded
    from raglift.serve.result import open_run

    run = open_run(arguments.run, arguments.workspace)
    found = measure_forgetting(run, arguments.data, margin, Progress(quiet=arguments.quiet))
    return Answer(asdict(found), [*_table(found), *(text for model in found.models for text in _told(model))])


def _table(found: Forgetting) -> list[Table]:
    columns = ("model", "texts", "metric", "base", "tuned", "gain", "95% interval", "p", "n", "decision")
    rows = [(model.target, *_row(figure)) for model in found.models for figure in model.figures]
    title = f"tuned models against their bases, outside of the run's documents (margin {found.margin:g})"
    return [Table(title, columns, rows)] if rows else []


def _row(figure: Retained) -> tuple[object, ...]:
    ends = (figure.ci_low, figure.ci_high)
    shown = "n/a" if None in ends else " ".join(f"{end:+.3f}" for end in ends if end is not None)
    scored = "" if figure.coverage == 1 else f" ({figure.coverage:.0%} scored)"
    means = (number(figure.base), number(figure.tuned))
    numbers = (f"{figure.gain:+.3f}", shown, number(figure.p), f"{figure.n}{scored}", figure.decision)
    return figure.question_set, f"{figure.metric} ({figure.better} is better)", *means, *numbers


def _told(model: Model) -> list[str]:
    """What the table does not hold."""
    lines = []
    if model.described:
        base, tuned = (number(model.described["perplexity"][arm], 1) for arm in ("base", "tuned"))
        lines.append(f"{model.target}: perplexity of the probe's passages {base or 'n/a'} -> {tuned or 'n/a'}.")
    if model.closed_book is not None:
        known = model.closed_book
        lines.append(
            f"{model.target}: of {known.asked} closed-book questions the base answers {known.base_right} rightly; the "
            f"tuned model still answers {known.kept} of these, and {len(known.gained)} others."
        )
    return [*lines, *([f"{model.target}: {model.note}"] if model.note else [])]
