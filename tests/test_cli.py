from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from raglift import cli, cli_output
from raglift.errors import UserError

SCORE = {"value": 0.641, "n": 10, "coverage": 1.0, "ci_low": 0.6, "ci_high": 0.68}
REPORT: dict[str, Any] = {
    "run": "demo",
    "verdict": "tuned_both beats the base.",
    "arms": {"base": {}, "tuned_both": {}},
    "retrieval": {"human": {"base": {"nDCG@10": SCORE}, "tuned_both": {"nDCG@10": {**SCORE, "value": 0.7}}}},
    "response": {
        "human": {
            "base": {"token_f1": {**SCORE, "value": None}},
            "tuned_both": {"token_f1": {**SCORE, "value": 0.25, "coverage": 0.5, "ci_low": None, "ci_high": None}},
        }
    },
    "verdicts": [
        {
            "question_set": "human",
            "metric": "nDCG@10",
            "arm": "tuned_both",
            "against": "base",
            "delta": 0.059,
            "ci_low": 0.01,
            "ci_high": 0.1,
            "p": 0.012,
            "detectable": 0.05,
            "n": 10,
            "decision": "better",
        }
    ],
}
STATUS = {
    "run": "demo",
    "state": "running",
    "folder": "indexes/runs/demo",
    "stages": [
        {"name": "corpus", "key": "abc", "seconds": 1.25, "cached": True, "state": "done"},
        {"name": "train", "key": "def", "seconds": None, "cached": False, "state": "running"},
    ],
}


class Engine:
    def query(self, question: str) -> SimpleNamespace:
        node = SimpleNamespace(node_id="c1", score=0.5, text="a passage\nover [two] lines, caf\u00e9")
        return SimpleNamespace(response=f"answer to {question}", source_nodes=[node])


def result(folder: Path, beat_base: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        folder=folder,
        report=REPORT,
        beat_base=beat_base,
        chosen_arm="tuned_both",
        arms=["base", "tuned_both"],
        query_engine=lambda arm: Engine(),
    )


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """Stand-ins for the modules that do the work; `seen` holds what they were called with."""
    fake = SimpleNamespace(seen=[], result=result(tmp_path / "runs" / "demo"), act=lambda: None)
    pipeline: Any = ModuleType("raglift.pipeline")
    opened: Any = ModuleType("raglift.serve.result")
    evaluating: Any = ModuleType("raglift.serve.evaluate")
    written: Any = ModuleType("raglift.report.files")

    def run(config: Any, progress: Any) -> Any:
        print("a library talks")
        fake.seen.append(config)
        fake.act()
        progress.say("halfway")
        return fake.result

    def open_run(run: str, workspace: str) -> Any:
        fake.seen.append((run, workspace))
        if run == "none":
            raise UserError("There is no run called 'none'.", fix="Look into indexes.")
        return fake.result

    pipeline.run = run
    evaluating.evaluate_on = lambda result, data, progress: {"retrieval": REPORT["retrieval"], "verdicts": []}
    opened.open_run = opened.read_run = open_run
    written.rebuild = lambda result, progress: {**result.report, "left_out": ["judge.json is not shown."]}
    opened.read_status = lambda run, workspace: STATUS
    monkeypatch.setitem(sys.modules, "raglift.pipeline", pipeline)
    monkeypatch.setitem(sys.modules, "raglift.report.files", written)
    monkeypatch.setitem(sys.modules, "raglift.serve.evaluate", evaluating)
    monkeypatch.setitem(sys.modules, "raglift.serve.result", opened)
    return fake


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "a.yaml"
    path.write_text("data: {beir: b}\nembedding: {strategies: []}\nllm: {strategies: []}\n")
    return str(path)


def test_run_prints_the_verdict_and_where_the_report_lies(
    fakes: SimpleNamespace, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", config]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{REPORT['verdict']}\nReport: {fakes.result.folder / 'report.html'}\n"
    assert "halfway" in printed.err


def test_run_with_json_prints_one_document_and_nothing_else(
    fakes: SimpleNamespace, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", config, "--json", "--quiet"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["report"] == REPORT
    assert (document["beat_base"], document["chosen_arm"]) == (True, "tuned_both")
    assert "halfway" not in printed.err
    assert "a library talks" in printed.err


def test_overrides_may_stand_anywhere(fakes: SimpleNamespace, config: str) -> None:
    assert cli.main(["run", "seed=3", config, "--quiet", "llm.epochs=2", "run=x"]) == 0
    (seen,) = fakes.seen
    assert (seen.seed, seen.llm.epochs, seen.run) == (3, 2, "x")


def test_run_that_beats_nothing_is_told_by_its_status(fakes: SimpleNamespace, config: str) -> None:
    fakes.result.beat_base = False
    assert cli.main(["run", config]) == 3


def test_a_mistake_in_the_configuration_is_no_traceback(
    fakes: SimpleNamespace, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", config, "sede=1", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "command line: unknown key 'sede' (did you mean 'seed'?)" in printed.err
    assert "Traceback" not in printed.err
    assert fakes.seen == []


def test_an_interruption_says_how_to_go_on(
    fakes: SimpleNamespace, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    fakes.act = interrupt
    assert cli.main(["run", config]) == 130
    assert "The same command goes on from where it stopped." in capsys.readouterr().err


def test_being_terminated_is_an_interruption(fakes: SimpleNamespace, config: str) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    fakes.act = terminate
    assert cli.main(["run", config]) == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bug_shows_its_traceback(fakes: SimpleNamespace, config: str) -> None:
    fakes.act = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", config])


def test_the_base_pipeline_is_not_loaded_for_a_wrong_configuration(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "raglift.pipeline", None)  # importing it would raise
    assert cli.main(["run", config, "seed=x"]) == 2


def test_status(fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "demo"]) == 0
    text = capsys.readouterr().out
    assert "demo: running (indexes/runs/demo)" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["corpus", "done", "1.2", "yes", "abc"],
        ["train", "running", "def"],
    ]
    assert cli.main(["status", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_report(fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "demo", "--workspace", "elsewhere"]) == 0
    text = capsys.readouterr().out
    assert fakes.seen == [("demo", "elsewhere")]
    assert str(fakes.result.folder / "report.html") in text
    assert REPORT["verdict"] in text
    for part in (
        "0.641 [0.600 0.680]",
        "n/a",
        "0.250 (50% scored)",
        "+0.059",
        "+0.010 +0.100",
        "0.012",
        "better",
        "judge.json",
    ):
        assert part in text
    assert cli.main(["report", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == REPORT | {"left_out": ["judge.json is not shown."]}


def test_a_run_that_is_not_there(fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "none"]) == 2
    assert capsys.readouterr().err == "There is no run called 'none'.\n  fix: Look into indexes.\n"


def test_ask(fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "demo", "why?"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("answer to why?\n")
    assert "0.500   a passage over [two] lines" in text
    assert cli.main(["ask", "demo", "why?", "--arm", "base", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["arm"], document["question"], document["answer"]) == ("base", "why?", "answer to why?")
    assert [(source["id"], source["score"]) for source in document["sources"]] == [("c1", 0.5)]


def test_ask_an_arm_that_is_not_there(fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "demo", "why?", "--arm", "bse"]) == 2
    assert "did you mean 'base'?" in capsys.readouterr().err


def test_evaluate(fakes: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "demo", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retrieval"] == REPORT["retrieval"]
    assert cli.main(["evaluate", "demo", "--data", str(tmp_path / "none")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_strategies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from raglift import plugins

    lora = SimpleNamespace(
        axis="parameters", targets={"llm", "embedding"}, family="f", approach="a", when="w", paper="p"
    )

    def load(kind: str, name: str) -> Any:
        if name == "exotic":
            raise ImportError("No module named 'rare'")
        return lora

    monkeypatch.setattr(plugins, "names", lambda kind: ["exotic", "lora"])
    monkeypatch.setattr(plugins, "load", load)
    assert cli.main(["strategies", "--json"]) == 0
    exotic, found = json.loads(capsys.readouterr().out)
    assert found["targets"] == ["embedding", "llm"]
    assert found["paper"] == "p"
    assert "rare" in exotic["when"]
    assert cli.main(["strategies"]) == 0
    text = capsys.readouterr().out
    assert "embedding, llm" in text
    assert "not available here: No module named 'rare'" in text


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "schema"]) == 0
    assert "corpus.chunk_tokens" in capsys.readouterr().out
    assert cli.main(["config", "schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: raglift")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("raglift ")


@pytest.mark.parametrize("argv", [["walk"], ["run"], ["status", "a", "b"], ["run", "a.yaml", "--fast"], ["config"]])
def test_arguments_that_cannot_be_read(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 2
    assert "usage: raglift" in capsys.readouterr().err


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)


HEAVY = ("torch", "transformers", "llama_index", "faiss", "ragas", "scipy", "numpy", "peft", "pydantic", "yaml", "rich")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom raglift.cli import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_help_is_instant() -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # on a busy machine the clock counts others' work too
        return used.ru_utime + used.ru_stime

    def once() -> float:
        start = spent()
        assert python("-m", "raglift", "--help").returncode == 0
        return spent() - start

    assert min(once() for _ in range(5)) < 0.3


def test_a_reader_that_went_away_is_no_error() -> None:
    command = [sys.executable, "-m", "raglift", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


@pytest.mark.parametrize(("encoding", "plain"), [("ascii", "caf\\u00e9"), ("utf-8", "caf\u00e9")])
def test_json_in_what_the_output_can_carry(
    monkeypatch: pytest.MonkeyPatch, encoding: str, plain: str, fakes: SimpleNamespace
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert cli.main(["ask", "demo", "?", "--json"]) == 0
    written = raw.getvalue().decode(encoding)
    assert plain in written
    assert "caf\u00e9" in json.loads(written)["sources"][0]["text"]


def test_text_in_what_the_output_can_carry(monkeypatch: pytest.MonkeyPatch, fakes: SimpleNamespace) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert cli.main(["ask", "demo", "?"]) == 0
    assert b"caf\\xe9" in raw.getvalue()


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    table = cli_output.Table("", ("a", "b"), [("x", "word " * 30)])
    lines = cli_output.as_text([table]).splitlines()
    assert len(lines) > 4
    assert max(len(line) for line in lines if "\x1b" not in line) <= 40
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert max(map(len, cli_output.as_text([table]).splitlines())) > 140
