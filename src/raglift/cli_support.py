"""The command that checks a run's answers against their passages: support."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raglift.cli_output import Answer, Table, score_tables

if TYPE_CHECKING:
    from raglift.serve.support import Support

AddForRun = Callable[..., argparse.ArgumentParser]


def add_commands(add_for_run: AddForRun) -> None:
    """Put `support` on the parser."""
    about = "Check a finished run's answers, sentence by sentence, against the passages that they were made from."
    sub = add_for_run("support", _support, about)
    how = "a small model that learns from the run's documents, or words alone (default: %(default)s)"
    sub.add_argument("--checker", default="trained", choices=("trained", "lexical"), help=how)
    sub.add_argument("--quiet", action="store_true", help="show no progress")


def _support(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from raglift.progress import Progress
    from raglift.serve.result import open_run
    from raglift.serve.support import check_support

    run = open_run(arguments.run, arguments.workspace)
    found = check_support(run, arguments.checker, Progress(quiet=arguments.quiet))
    scores = {name: {arm: {"support": cell} for arm, cell in arms.items()} for name, arms in found.sets.items()}
    return Answer(asdict(found), [_health(found), *score_tables({"response": scores, "verdicts": found.verdicts})])


def _health(found: Support) -> Table:
    rows = [
        ("claims not supported that it finds", found.health["sensitivity"]),
        ("supported claims that it lets through", found.health["specificity"]),
        *((f"  {kind}", rate) for kind, rate in found.health["by_kind"].items()),
    ]
    title = f"the {found.checker} checker on claims about test documents, half of them made false by machine"
    return Table(title, ("claims", "share", "95% interval", "n"), [(name, *_cells(rate)) for name, rate in rows])


def _cells(rate: dict[str, Any]) -> tuple[str, str, int]:
    if rate["value"] is None:
        return "n/a", "", 0
    low, high = rate["interval"]
    return f"{rate['value']:.3f}", f"{low:.3f} {high:.3f}", rate["n"]
