"""The commands that bring questions in and out, and tuned models out: export, import, review, formats."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raglift.cli_output import Answer, Table
from raglift.errors import UserError

Add = Callable[[str, Any, str], argparse.ArgumentParser]


def add_commands(add: Add, add_for_run: Add) -> None:
    """Put the commands on the parser; `add_for_run` gives those that take a run."""
    export = add_for_run("export", _export, "Write a run's tuned models, or its questions, for other projects.")
    either = export.add_mutually_exclusive_group(required=True)
    either.add_argument("--to", type=Path, metavar="DIR", help="the tuned models go into this new folder")
    either.add_argument("--format", metavar="NAME", help="the questions go out in it; `raglift formats` lists them")
    export.add_argument(
        "--model", choices=("embedding", "llm", "rerank"), help="with --to: only this model (default: all)"
    )
    what = "with --to: adapters as they are, instead of whole models with merged weights"
    export.add_argument("--adapter", action="store_true", help=what)
    export.add_argument("--out", type=Path, metavar="PATH", help="with --format: a new file, or folder for beir")
    export.add_argument("--split", choices=("train", "dev", "test"), help="only these questions (default: all)")
    export.add_argument("--origin", choices=("synthetic", "human"), help="only these questions (default: all)")
    what = "what a passage is (default: chunks, unless a question is judged by document)"
    export.add_argument("--passages", choices=("auto", "chunks", "documents"), default="auto", help=what)
    take = add("import", _import, "Turn another project's questions into a folder that a run reads.")
    take.add_argument("file", type=Path, metavar="FILE", help="the file, or the folder in BEIR layout")
    take.add_argument("--format", required=True, metavar="NAME", help="`raglift formats` lists them")
    take.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    review = add_for_run("review", _review, "Write a run's synthetic questions to be accepted, rejected or corrected.")
    what = "a new file: .csv for a spreadsheet, .jsonl for a text editor"
    review.add_argument("--out", required=True, type=Path, metavar="FILE", help=what)
    for sub in (export, take):
        sub.add_argument("--quiet", action="store_true", help="show no progress and no warnings")
    add("formats", _formats, "List the formats of other projects, and what each cannot hold.")


def _export(arguments: argparse.Namespace) -> Answer:
    return _export_models(arguments) if arguments.to is not None else _export_questions(arguments)


def _export_models(arguments: argparse.Namespace) -> Answer:
    _refuse(arguments, "--to writes models", out=None, split=None, origin=None, passages="auto")
    from raglift.release.export import export_models
    from raglift.serve.result import open_run

    run = open_run(arguments.run, arguments.workspace)
    found = export_models(run, arguments.to, [arguments.model] if arguments.model else None, arguments.adapter)
    value = {each.target: str(each.folder) if each.folder else None for each in found}
    parts = [
        f"{each.target}: {each.folder} ({'an adapter' if each.adapter else 'a whole model'})"
        if each.folder
        else f"{each.target}: the base won, so that there is no tuned model"
        for each in found
    ]
    return Answer(value, parts, 0 if any(value.values()) else 3)


def _refuse(arguments: argparse.Namespace, why: str, **unset: Any) -> None:
    """Raise for an option that is not for what the command was asked for."""
    given = [f"--{name}" for name, default in unset.items() if getattr(arguments, name) != default]
    if given:
        raise UserError(f"{given[0]} does not go with that.", f"{why}.", f"Leave {' and '.join(given)} out.")


def _export_questions(arguments: argparse.Namespace) -> Answer:
    _refuse(arguments, "--format writes questions", model=None, adapter=False)
    if arguments.out is None:
        raise UserError("--out is missing.", "--format writes questions, and they need a place.", "Add --out PATH.")
    from dataclasses import asdict

    from raglift.exchange.files import load, refuse_existing, write
    from raglift.progress import Progress

    load(arguments.format)  # a misspelt name shows before the run is opened
    refuse_existing(arguments.out.expanduser())
    from raglift.exchange.run import open_questions, question_set
    from raglift.exchange.sets import counted

    content = question_set(open_questions(arguments.run, arguments.workspace), arguments.split, arguments.origin)
    display = Progress(quiet=arguments.quiet)
    made = write(content, arguments.out, arguments.format, arguments.passages, display)
    value = {"out": str(arguments.out), "format": arguments.format, **asdict(made)}
    parts = [f"{counted(made.questions, 'question')}, {counted(made.passages, 'passage')}: {arguments.out}"]
    return Answer(value, parts)


def _import(arguments: argparse.Namespace) -> Answer:
    from raglift.exchange.importing import import_questions
    from raglift.exchange.sets import counted
    from raglift.progress import Progress

    found = import_questions(arguments.file, arguments.format, arguments.out, Progress(quiet=arguments.quiet))
    value = {
        "folder": str(found.folder),
        "questions_file": str(found.questions),
        "questions": found.count,
        "unanswerable": found.unanswerable,
        "passages": found.passages,
    }
    parts = [
        f"{counted(found.count, 'question')} ({found.unanswerable:,} unanswerable), "
        f"{counted(found.passages, 'passage')}: {found.folder}",
        f"over these passages: data.beir={found.folder}",
        f"over your own documents: data.documents=DIR data.questions={found.questions}",
    ]
    return Answer(value, parts)


def _review(arguments: argparse.Namespace) -> Answer:
    from raglift.exchange.run import write_review
    from raglift.exchange.sets import counted

    count = write_review(arguments.run, arguments.out, arguments.workspace)
    parts = [
        f"{counted(count, 'question')}: {arguments.out}",
        "Write accept or reject under verdict, a correction under new_question or new_answer, and run again with",
        f"synthesis.review={arguments.out}",
    ]
    return Answer({"out": str(arguments.out), "questions": count}, parts)


def _formats(arguments: argparse.Namespace) -> Answer:
    from raglift import plugins
    from raglift.exchange.features import unheld
    from raglift.exchange.files import KIND, load

    found = [load(name) for name in plugins.names(KIND)]
    value = [
        {"name": layout.name, "file": layout.ending or "folder", "about": layout.about, "lacks": unheld(layout.holds)}
        for layout in found
    ]
    rows = [(row["name"], row["file"], row["about"], ", ".join(row["lacks"])) for row in value]
    return Answer(value, [Table("", ("name", "file", "what it is", "cannot hold"), rows)])
