"""The commands about what a finished run serves: index update, index status, index latency."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raglift.cli_output import Answer, Table

if TYPE_CHECKING:
    from raglift.serve.update import Account

AddForRun = Callable[..., argparse.ArgumentParser]


def add_commands(commands: Any, add_for_run: AddForRun) -> None:
    """Put `index` on the parser, with commands of its own."""
    index = commands.add_parser("index", help="About what a finished run serves.")
    into = index.add_subparsers(dest="about", metavar="WHAT", required=True)
    about = "Read a finished run's documents again and index what changed; its scores stay as they are."
    update = add_for_run("update", _update, about, into)
    update.add_argument("--allow-empty", action="store_true", help="go on where all documents are gone")
    update.add_argument("--quiet", action="store_true", help="show no progress and no warnings")
    add_for_run("status", _status, "Say which documents a finished run serves.", into)
    latency = add_for_run(
        "latency", _latency, "Ask a finished run's questions one by one; say how long it takes.", into
    )
    latency.add_argument("--arm", help="the pipeline that is asked (default: the one that the run chose)")
    latency.add_argument("--questions", type=int, default=100, help="most questions (default: %(default)s)")


def _update(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from raglift.progress import Progress
    from raglift.serve.result import open_run

    result = open_run(arguments.run, arguments.workspace)
    account = result.update(arguments.allow_empty, Progress(quiet=arguments.quiet))
    return Answer(asdict(account), _parts(account))


def _parts(account: Account) -> list[str | Table]:
    documents, chunks, vectors = account.documents, account.chunks, account.vectors
    seconds = f"{account.seconds:.1f} s"
    if not account.written:
        return [f"Nothing has changed in {documents.read:,} documents; nothing was written ({seconds})."]
    rows = [
        ("documents read", documents.read),
        ("new", documents.new),
        ("changed", documents.changed),
        ("gone", documents.gone),
        ("unchanged", documents.unchanged),
        ("chunks added", chunks.added),
        ("deleted", chunks.deleted),
        ("kept", chunks.kept),
        ("vectors encoded", vectors.encoded),
        ("known already", vectors.known),
    ]
    table = Table("", ("what", "count"), [(what, f"{count:,}") for what, count in rows])
    return [table, f"Served from now on: {account.version} ({seconds})."]


def _status(arguments: argparse.Namespace) -> Answer:
    from raglift.serve.result import read_run

    value = read_run(arguments.run, arguments.workspace).served()
    counts = f"{value['documents']:,} documents, {value['chunks']:,} chunks"
    if value["version"] is None:
        return Answer(value, [f"{value['run']} serves what it was scored with: {counts}."])
    return Answer(value, [f"{value['run']} serves {value['version']}, written {value['written']}: {counts}."])


def _latency(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from raglift.serve.latency import run_latencies
    from raglift.serve.result import open_run

    run = open_run(arguments.run, arguments.workspace)
    found = run_latencies(run, arguments.arm, arguments.questions)
    rows = [(each.stage, f"{each.p50:.2f}", f"{each.p95:.2f}") for each in found]
    table = Table(f"milliseconds a question, {arguments.arm or run.chosen_arm}", ("stage", "p50", "p95"), rows)
    return Answer([asdict(each) for each in found], [table])
