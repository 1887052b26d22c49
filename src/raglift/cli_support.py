"""The command that checks a run's answers against their passages: support."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from raglift.cli_output import Answer, Table, score_tables

AddForRun = Callable[..., argparse.ArgumentParser]


def add_commands(add_for_run: AddForRun) -> None:
    """Put `support` on the parser."""
    about = "Check a finished run's answers, sentence by sentence, against the passages that they were made from."
    sub = add_for_run("support", _support, about)
    how = "words weighed by the run's documents, a small model beside them, or words alone (default: %(default)s)"
    sub.add_argument("--checker", default="trained", choices=("trained", "cross_encoder", "lexical"), help=how)
    sub.add_argument("--quiet", action="store_true", help="show no progress")


def _support(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from raglift.progress import Progress
    from raglift.serve.result import open_run
    from raglift.serve.support import check_support

    run = open_run(arguments.run, arguments.workspace)
    found = check_support(run, arguments.checker, Progress(quiet=arguments.quiet))
    return Answer(asdict(found), support_parts(asdict(found)))


def support_parts(found: Mapping[str, Any]) -> list[str | Table]:
    """What support.json says, as tables: first how often the checker is right."""
    scores = {name: {arm: {"support": cell} for arm, cell in arms.items()} for name, arms in found["sets"].items()}
    return [_health(found), *score_tables({"response": scores, "verdicts": found["verdicts"]})]


def _health(found: Mapping[str, Any]) -> Table:
    health = found["health"]
    rows = [
        ("claims not supported that it finds", health["sensitivity"]),
        ("supported claims that it lets through", health["specificity"]),
        *_balanced(health),
        *((f"  {kind}", rate) for kind, rate in health["by_kind"].items()),
    ]
    title = f"the {found['checker']} checker on claims about test documents, half of them made false by machine"
    return Table(title, ("claims", "share", "95% interval", "n"), [(name, *_cells(rate)) for name, rate in rows])


def _balanced(health: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The mean of the two; a file from before it had an interval has no such row."""
    if health.get("balanced_interval") is None:
        return []
    n = health["sensitivity"]["n"] + health["specificity"]["n"]
    found = {"value": health["balanced_accuracy"], "interval": health["balanced_interval"], "n": n}
    return [("both, as balanced accuracy", found)]


def _cells(rate: dict[str, Any]) -> tuple[str, str, int]:
    if rate["value"] is None:
        return "n/a", "", 0
    low, high = rate["interval"]
    return f"{rate['value']:.3f}", f"{low:.3f} {high:.3f}", rate["n"]
