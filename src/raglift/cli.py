"""The command line. It imports the standard library alone at start; each command imports what it needs."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from raglift import cli_evaluate, cli_exchange, cli_forgetting, cli_index, cli_judge, cli_slices, cli_support
from raglift.cli_output import Answer, Table, as_json, as_text, number, score_tables, trial_tables, write
from raglift.errors import UserError

DONE, MISTAKE, NOTHING_BEAT_THE_BASE, INTERRUPTED = 0, 2, 3, 130
_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)*=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 2 the user's mistake, 3 nothing beat the base, 130
    interrupted. Anything else that goes wrong is a bug, and its traceback shows.

    Raises:
        SystemExit: For `--help`, `--version` and arguments that cannot be parsed.
    """
    parser = _parser()
    arguments, extra = parser.parse_known_args(argv)
    if extra and arguments.command in ("run", "estimate") and not any(text.startswith("-") for text in extra):
        arguments.inputs += extra  # argparse stops collecting a list at the first option
    elif extra:
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    if not arguments.command:
        write(parser.format_help())
        return DONE
    try:
        with _terminate_like_interrupt(), contextlib.redirect_stdout(sys.stderr):  # what libraries print is no result
            answer: Answer = arguments.do(arguments)
        write(as_json(answer.value) if arguments.json else as_text(answer.parts))
        return answer.code
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        kept = arguments.command in ("run", "index", "judge", "forgetting") or cli_evaluate.is_kept(arguments)
        again = " The same command goes on from where it stopped." if kept else ""
        print(f"Interrupted.{again}", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raglift",
        description="Tune the embedding model and the language model of a retrieval-augmented pipeline on your own "
        "documents, and measure whether it got better.",
        epilog="Exit status: 0 done, 2 your input must change, 3 nothing beat the base, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, do: Any, about: str, into: Any = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = into.add_parser(name, help=about, description=about)
        sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        sub.set_defaults(do=do)
        return sub

    def add_for_run(name: str, do: Any, about: str, into: Any = commands) -> argparse.ArgumentParser:
        sub = add(name, do, about, into)
        sub.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
        sub.add_argument("--workspace", default="indexes", help="folder that holds the runs (default: %(default)s)")
        return sub

    run = add("run", _run, "Build, tune and score a pipeline, going on from what is already done.")
    what = "a YAML file (later ones win) or an override such as llm.epochs=2"
    run.add_argument("inputs", nargs="+", metavar="CONFIG|KEY=VALUE", help=what)
    run.add_argument("--quiet", action="store_true", help="show no progress")
    guess = add("estimate", _estimate, "Say how many calls, tokens and how much money the questions will take.")
    guess.add_argument("inputs", nargs="+", metavar="CONFIG|KEY=VALUE", help=what)
    guess.add_argument("--quiet", action="store_true", help="show no progress")
    add_for_run("status", _status, "Show which stages of a run are done.")
    about = "Show a run's verdict and scores, and write its HTML report anew with what was found since."
    add_for_run("report", _report, about)
    ask = add_for_run("ask", _ask, "Put one question to a finished run.")
    ask.add_argument("question", metavar="QUESTION")
    ask.add_argument("--arm", help="the pipeline that answers (default: the one that the run chose)")
    cli_slices.add_commands(add_for_run)
    cli_evaluate.add_commands(add)
    cli_index.add_commands(commands, add_for_run)
    cli_judge.add_commands(add_for_run)
    cli_support.add_commands(add_for_run)
    cli_forgetting.add_commands(add_for_run)
    cli_exchange.add_commands(add, add_for_run)
    add("strategies", _strategies, "List the training strategies and when to use each.")
    config = commands.add_parser("config", help="About configuration files.")
    schema = config.add_subparsers(dest="about", metavar="WHAT", required=True)
    add("schema", _schema, "List every key of a configuration; with --json, its JSON Schema.", into=schema)
    doctor = add("doctor", _doctor, "Check this machine and installation.")
    doctor.add_argument("--workspace", default="indexes", help="folder whose disk is checked (default: %(default)s)")
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from raglift import __version__

        write(f"raglift {__version__}")
        parser.exit()


@contextlib.contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that journals and checkpoints are closed properly."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever runs it handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _load(inputs: Sequence[str]) -> Any:
    from raglift.config import load_config

    overrides = [text for text in inputs if _OVERRIDE.match(text)]
    return load_config([text for text in inputs if not _OVERRIDE.match(text)], overrides)


def _estimate(arguments: argparse.Namespace) -> Answer:
    from raglift.progress import Progress

    config = _load(arguments.inputs)
    from raglift.estimation import estimate

    found = estimate(config, Progress(quiet=arguments.quiet))
    return Answer(found.as_json(), [str(found)])


def _run(arguments: argparse.Namespace) -> Answer:
    from raglift.progress import Progress

    config = _load(arguments.inputs)
    from raglift.pipeline import run  # heavy: a mistake in the configuration shows before it is loaded

    result = run(config, Progress(quiet=arguments.quiet))
    parts = [result.report["verdict"], f"Report: {result.folder / 'report.html'}"]
    value = {
        "run": config.run,
        "folder": str(result.folder),
        "beat_base": result.beat_base,
        "chosen_arm": result.chosen_arm,
        "report": result.report,
    }
    return Answer(value, parts, DONE if result.beat_base else NOTHING_BEAT_THE_BASE)


def _status(arguments: argparse.Namespace) -> Answer:
    from raglift.serve.result import read_status

    status = read_status(arguments.run, arguments.workspace)
    rows = [
        (stage["name"], stage["state"], number(stage["seconds"], 1), "yes" if stage["cached"] else "", stage["key"])
        for stage in status["stages"]
    ]
    table = Table("", ("stage", "state", "seconds", "reused", "key"), rows)
    return Answer(status, [f"{status['run']}: {status['state']} ({status['folder']})", table])


def _report(arguments: argparse.Namespace) -> Answer:
    from raglift.progress import Progress
    from raglift.report.files import rebuild
    from raglift.serve.result import read_run

    result, display = read_run(arguments.run, arguments.workspace), Progress()
    report = result.report
    try:
        report = rebuild(result, display)
    except UserError as error:  # what was measured is there to be read all the same
        display.warn(f"report.html stays as it was: {error.what} {error.why}".rstrip())
    parts = [
        f"Report: {result.folder / 'report.html'}",
        report["verdict"],
        *score_tables(report),
        *trial_tables(report),
        *(cli_slices.harm_parts(report["slices"]) if "slices" in report else ()),
        *(part for judge in report.get("judges", {}).values() for part in cli_judge.judge_parts(judge)),
        *(cli_support.support_parts(report["support"]) if report.get("support") else ()),
        *report.get("left_out", ()),
    ]
    return Answer(report, parts)


def _ask(arguments: argparse.Namespace) -> Answer:
    from raglift.serve.result import open_run

    result = open_run(arguments.run, arguments.workspace)
    arm = arguments.arm or result.chosen_arm
    if arm not in result.arms:
        from raglift.plugins import nearest

        raise UserError(f"The run has no arm called {arm!r}.", nearest(arm, list(result.arms)))
    response: Any = result.query_engine(arm).query(arguments.question)
    sources = [{"id": node.node_id, "score": node.score, "text": node.text} for node in response.source_nodes]
    value = {"arm": arm, "question": arguments.question, "answer": str(response.response), "sources": sources}
    rows = [
        (rank, number(node.score), " ".join(node.text.split())) for rank, node in enumerate(response.source_nodes, 1)
    ]
    return Answer(value, [value["answer"], Table("", ("", "score", "passage"), rows)])


def _strategies(arguments: argparse.Namespace) -> Answer:
    from raglift import plugins

    columns = ("name", "axis", "targets", "family", "approach", "when", "paper")
    value: list[dict[str, Any]] = []
    for name in plugins.names("strategy"):
        try:
            strategy = plugins.load("strategy", name)
        except ImportError as error:
            value.append({"name": name, "when": f"not available here: {error}"})
            continue
        about = {column: getattr(strategy, column) for column in columns[1:]}
        value.append({"name": name, **about, "targets": sorted(strategy.targets)})
    rows = [[", ".join(row[key]) if key == "targets" else row[key] for key in row] for row in value if len(row) > 2]
    rows += [[row["name"], "", "", "", "", row["when"], ""] for row in value if len(row) == 2]
    return Answer(value, [Table("", columns, rows)])


def _schema(arguments: argparse.Namespace) -> Answer:
    from raglift.config import Config, describe_schema

    table = Table("", ("key", "value", "default", "meaning"), describe_schema())
    return Answer(Config.model_json_schema(), [table])


def _doctor(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from raglift.doctor import checks

    found = checks(Path(arguments.workspace))
    rows = [(check.name, "ok" if check.ok else "warn", check.found, "" if check.ok else check.fix) for check in found]
    value = [{**asdict(check), "fix": "" if check.ok else check.fix} for check in found]
    return Answer(value, [Table("", ("check", "", "found", "what to do"), rows)])
