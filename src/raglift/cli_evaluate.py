"""The commands that score what is finished: evaluate (a run, answers made elsewhere, an endpoint) and compare."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raglift.cli_output import Answer, Table, score_tables
from raglift.errors import UserError

Add = Callable[[str, Any, str], argparse.ArgumentParser]

_RUN, _ANSWERS, _ENDPOINT = "--data", "--answers", "--endpoint"


def add_commands(add: Add) -> None:
    """Put the commands on the parser."""
    about = "Score a finished run on another data set, answers made elsewhere, or an HTTP endpoint."
    evaluate = add("evaluate", _evaluate, about)
    evaluate.add_argument("run", nargs="?", metavar="RUN", help="with --data: a run's name, or the path of its folder")
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument(_RUN, type=Path, metavar="DIR", help="score RUN on this folder in BEIR layout")
    what.add_argument(_ANSWERS, type=Path, metavar="FILE", help="score the answers in this JSON Lines file")
    what.add_argument(_ENDPOINT, metavar="URL", help="score what this OpenAI-compatible endpoint answers")
    about = "with --answers or --endpoint: a JSON Lines file, a folder in BEIR layout, or a finished run"
    evaluate.add_argument("--questions", metavar="FILE", help=about)
    evaluate.add_argument("--model", metavar="NAME", help="with --endpoint: the model that it is asked for")
    evaluate.add_argument("--key-env", metavar="VAR", help="with --endpoint: the variable that holds the API key")
    evaluate.add_argument("--workers", type=int, metavar="N", help="with --endpoint: questions at once (default: 1)")
    about = "the records go into this folder; with --endpoint, the same command goes on from there"
    evaluate.add_argument("--out", type=Path, metavar="DIR", help=about)
    compare = add("compare", _compare, "Hold finished runs against the first one, on the questions that they share.")
    about = "names or folders of finished runs, or folders that `raglift evaluate --out` wrote"
    compare.add_argument("runs", nargs="+", metavar="RUN", help=about)
    about = "the arm of each run: chosen, all, or a name (default: %(default)s)"
    compare.add_argument("--arm", default="chosen", metavar="ARM", help=about)
    either = compare.add_mutually_exclusive_group()
    about = "also say which are no worse than the first by more than this, such as 0.02"
    either.add_argument("--margin", type=float, metavar="LOSS", help=about)
    about = "the runs differ in their seed alone: what of each arm's lift over its base is the luck of a training"
    either.add_argument("--seeds", action="store_true", help=about)
    for sub in (evaluate, compare):
        sub.add_argument("--workspace", default="indexes", help="folder that holds the runs (default: %(default)s)")
        sub.add_argument("--quiet", action="store_true", help="show no progress")


def is_kept(arguments: argparse.Namespace) -> bool:
    """Whether what an interrupted `raglift evaluate` has done is there for the next one."""
    return bool(arguments.command == "evaluate" and (arguments.data is not None or arguments.out is not None))


def _evaluate(arguments: argparse.Namespace) -> Answer:
    if arguments.data is not None:
        return _evaluate_run(arguments)
    if arguments.run is not None:
        raise UserError(f"{arguments.run!r} has no place here.", "A RUN goes with --data.", "Leave it out.")
    if arguments.questions is None:
        raise UserError("--questions is missing.", "It names what was asked.", "Add --questions FILE.")
    return _evaluate_answers(arguments) if arguments.answers is not None else _evaluate_endpoint(arguments)


def _evaluate_run(arguments: argparse.Namespace) -> Answer:
    _refuse(arguments, _RUN, "questions", "model", "key_env", "workers", "out")
    if arguments.run is None:
        raise UserError("RUN is missing.", "--data says what a finished run is scored on.", "Name the run.")
    if not arguments.data.is_dir():
        raise UserError(f"There is no folder {arguments.data}.", fix="--data names a folder in BEIR layout.")
    from raglift.progress import Progress
    from raglift.serve.evaluate import evaluate_on
    from raglift.serve.result import open_run

    result = open_run(arguments.run, arguments.workspace)
    scores = evaluate_on(result, arguments.data, Progress(quiet=arguments.quiet))
    return Answer(scores, score_tables(scores))


def _evaluate_answers(arguments: argparse.Namespace) -> Answer:
    _refuse(arguments, _ANSWERS, "model", "key_env", "workers")
    from raglift.assess.engines import evaluate_answers
    from raglift.progress import Progress

    display = Progress(quiet=arguments.quiet)
    found = evaluate_answers(arguments.answers, arguments.questions, None, display, arguments.workspace)
    if arguments.out is not None:
        found.save(arguments.out)
    return _answer(found.as_dict())


def _evaluate_endpoint(arguments: argparse.Namespace) -> Answer:
    if arguments.model is None:
        raise UserError("--model is missing.", "The endpoint is asked for a model by name.", "Add --model NAME.")
    workers = 1 if arguments.workers is None else arguments.workers
    if workers < 1:
        raise UserError(f"{workers} questions at once make no progress.", fix="Give --workers 1 or more.")
    from raglift.assess.endpoint import connect
    from raglift.assess.engines import evaluate_engines
    from raglift.assess.replies import Asking
    from raglift.progress import Progress

    engine = connect(arguments.endpoint, arguments.model, key_env=arguments.key_env)
    asking, display = Asking(arguments.out, workers), Progress(quiet=arguments.quiet)
    named = {arguments.model: engine}
    return _answer(evaluate_engines(named, arguments.questions, None, asking, display, arguments.workspace).as_dict())


def _refuse(arguments: argparse.Namespace, what: str, *unset: str) -> None:
    """Raise for an option that is not for what was asked for."""
    given = [f"--{name.replace('_', '-')}" for name in unset if getattr(arguments, name) is not None]
    if given:
        raise UserError(f"{given[0]} does not go with {what}.", fix=f"Leave {' and '.join(given)} out.")


def _compare(arguments: argparse.Namespace) -> Answer:
    from raglift.assess.runs import compare_runs, compare_seeds
    from raglift.progress import Progress

    display = Progress(quiet=arguments.quiet)
    if arguments.seeds:
        rows = compare_seeds(arguments.runs, arguments.arm, workspace=arguments.workspace, display=display)
        return Answer(rows, [_seeds_table(rows)])
    found = compare_runs(arguments.runs, arguments.arm, arguments.margin, arguments.workspace, display)
    return _answer(found.as_dict())


def _answer(summary: dict[str, Any]) -> Answer:
    parts = list(score_tables(summary))
    if summary["needed"]:
        columns = ("questions", "metric", "arm", "against", "difference seen", "questions needed", "documents")
        keys = ("question_set", "metric", "arm", "against", "difference", "questions", "documents")
        rows = [[_shown(row[key]) for key in keys] for row in summary["needed"]]
        parts.append(Table("questions that would show the difference seen (80% power)", columns, rows))
    if "noninferiority" in summary:
        parts.append(_margin_table(summary["noninferiority"]))
    failures = summary.get("failures", [])
    if failures:
        first = "; ".join(f"{row['arm']}, {row['qa_id']}: {row['reason']}" for row in failures[:3])
        parts.append(f"{len(failures)} answers failed ({first}{'; ...' if len(failures) > 3 else ''})")
    return Answer(summary, parts)


def _margin_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("questions", "metric", "arm", "against", "gain", "95% interval", "margin", "p", "n", "decision")
    cells = [
        (
            *(row[key] for key in ("question_set", "metric", "arm", "against")),
            *_delta(row),
            f"{row['margin']:g}",
            f"{row['p']:.3f}",
            row["n"],
            row["decision"],
        )
        for row in rows
    ]
    return Table("no worse than the first, but for the margin", columns, cells)


def _seeds_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("questions", "metric", "delta", "95% interval", "p", "sd between seeds", "error of seeds")
    cells = [
        (
            row["question_set"],
            row["metric"],
            *_delta(row),
            *(f"{row[key]:.3f}" for key in ("p", "between_seeds", "error_of_seeds", "error_of_questions")),
            row["seeds"],
            row["n"],
        )
        for row in rows
    ]
    return Table("lift over the base, over trainings", (*columns, "error of questions", "seeds", "n"), cells)


def _delta(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['delta']:+.3f}", f"{row['ci_low']:+.3f} {row['ci_high']:+.3f}"


def _shown(value: object) -> str:
    return "no number is enough" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
