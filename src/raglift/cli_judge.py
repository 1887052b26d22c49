"""The commands about what a model or a person says of a run's answers: judge, sheet."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raglift.cli_output import Answer, Table, number
from raglift.errors import UserError

AddForRun = Callable[..., argparse.ArgumentParser]


def add_commands(add_for_run: AddForRun) -> None:
    """Put `judge` and `sheet` on the parser."""
    judge = add_for_run("judge", _judge, "Test a language model as a judge and, if it passes, score a run's answers.")
    judge.add_argument("--judge", metavar="MODEL|FILE", help="a model's name or folder, or a YAML file")
    judge.add_argument("--questions", nargs="+", default=[], metavar="NAME", help="what it is asked")
    judge.add_argument("--items", type=int, help="known right answers, and wrong ones, to test it on (default: 100)")
    judge.add_argument("--max-answers", type=int, help="most answers of an arm and question set (default: all)")
    judge.add_argument("--quiet", action="store_true", help="show no progress")
    sheet = add_for_run(
        "sheet", _sheet, "Write two arms' answers side by side for people to read, or take their labels."
    )
    sheet.add_argument("--arms", nargs=2, metavar=("ARM", "ARM"), help="whose answers are compared")
    sheet.add_argument("--out", type=Path, metavar="FILE", help="a new .html file; a .jsonl file is put beside it")
    sheet.add_argument("--most", type=int, help="most pairs (default: all that differ)")
    sheet.add_argument("--labels", type=Path, metavar="FILE", help="what a reader saved, to be kept and compared")
    sheet.add_argument("--reader", default="reader", metavar="NAME", help="whose labels these are")


def _judge(arguments: argparse.Namespace) -> Answer:
    from raglift.config_judge import judge_config
    from raglift.progress import Progress

    settings = {"items": arguments.items, "max_answers": arguments.max_answers}
    config = judge_config(arguments.judge, arguments.questions, **settings)
    from raglift.serve.judge import FILE, judge_run  # heavy: a mistake in the file shows before it is loaded
    from raglift.serve.result import open_run

    result = open_run(arguments.run, arguments.workspace)
    value = judge_run(result, config, display=Progress(quiet=arguments.quiet))
    refused = {name: asked["health"]["refused"] for name, asked in value["questions"].items()}
    if all(refused.values()):
        raise UserError(
            f"The judge {value['judge']['name']} is refused for every question.",
            "; ".join(f"{name}: {why}" for name, why in refused.items()),
            f"Take a larger judge. The test is kept in {result.folder / FILE}.",
        )
    return Answer(value, judge_parts(value))


def _sheet(arguments: argparse.Namespace) -> Answer:
    from raglift.serve.result import read_run
    from raglift.serve.sheet import take_labels, write_sheet

    making = arguments.arms is not None and arguments.out is not None
    if making == (arguments.labels is not None) or (arguments.most is not None and arguments.most < 1):
        raise UserError(
            "A sheet is either written or read back.",
            "It is written with --arms ARM ARM --out FILE (and --most from 1 on), and read back with --labels FILE.",
        )
    result = read_run(arguments.run, arguments.workspace)
    if making:
        sheet = write_sheet(result, tuple(arguments.arms), arguments.out, arguments.most)
        files = [str(arguments.out), str(arguments.out.with_suffix(".jsonl"))]
        value = {"pairs": len(sheet.pairs), "files": files}
        return Answer(value, [f"{len(sheet.pairs)} pairs: {files[0]} for a browser, {files[1]} to fill in."])
    found = take_labels(result, arguments.labels, arguments.reader)
    columns = ("arm", "against", "preferred [95% interval]", "wins", "ties", "losses")
    rows = [
        (
            *(row[key] for key in columns[:2]),
            f"{row['value']:.2f} [{row['ci_low']:.2f} {row['ci_high']:.2f}]",
            *(row[key] for key in columns[3:]),
        )
        for row in found["preferred"]
    ]
    agreement = [(row["with"], number(row["alpha"]) or "n/a", row["n"]) for row in found["agreement"]]
    parts: list[str | Table] = [Table(f"{found['labels']} labels of {found['reader']}", columns, rows)]
    if agreement:
        parts.append(Table("agreement", ("with", "Krippendorff's alpha", "pairs"), agreement))
    return Answer(found, parts)


def judge_parts(value: dict[str, Any]) -> list[str | Table]:
    """What judge.json says of a judge, as tables."""
    parts: list[str | Table] = [_health_table(value)]
    for name, arms in value["scores"].items():
        asked = list(dict.fromkeys(question for cells in arms.values() for question in cells))
        rows = [(arm, *(_cell(cells.get(question)) for question in asked)) for arm, cells in arms.items()]
        if asked:
            parts.append(Table(f"{name} questions, corrected [95% interval] (as judged)", ("arm", *asked), rows))
    if value["differences"]:
        parts.append(_difference_table(value["differences"]))
    for name, asked_of in value["questions"].items():
        if asked_of["health"]["refused"]:
            parts.append(f"Refused for {name}: {asked_of['health']['refused']}.")
    if value["own_answers"]:
        own = ", ".join(value["own_answers"])
        parts.append(f"The judge wrote these arms' answers itself, and may favour them: {own}.")
    return parts


def _health_table(value: dict[str, Any]) -> Table:
    rows = []
    for name, asked in value["questions"].items():
        health = asked["health"]
        rates = [
            f"{rate['value']:.2f} [{rate['low']:.2f} {rate['high']:.2f}]"
            for rate in (health["sensitivity"], health["specificity"])
        ]
        youden = f"{health['youden']:+.2f} [{health['youden_low']:+.2f} {health['youden_high']:+.2f}]"
        rows.append((name, *rates, youden, health["unparsed"], "yes" if health["believed"] else "no"))
    columns = ("question", "right taken for right", "wrong for wrong", "Youden's J", "unparsed", "believed")
    return Table(f"{value['judge']['name']} on known answers, by {value['judge']['read_by']}", columns, rows)


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["value"] is None:
        return "n/a"
    coverage = "" if cell["coverage"] == 1 else f", {cell['coverage']:.0%} judged"
    interval = f"[{cell['ci_low']:.2f} {cell['ci_high']:.2f}]"
    return f"{cell['value']:.2f} {interval} ({cell['observed']:.2f}{coverage})"


def _difference_table(differences: list[dict[str, Any]]) -> Table:
    rows = [
        (
            *(row[key] for key in ("question_set", "question", "arm", "against")),
            f"{row['value']:+.2f} [{row['ci_low']:+.2f} {row['ci_high']:+.2f}]",
            f"{row['observed']:+.2f}",
            number(row["p"]),
            row["n"],
            row["decision"],
        )
        for row in differences
    ]
    columns = ("questions", "asked", "arm", "against", "corrected [95% interval]", "as judged", "p", "n", "decision")
    return Table("differences", columns, rows)
