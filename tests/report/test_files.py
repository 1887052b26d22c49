"""A report written again shows what other commands have found since, and nothing that is foreign or out of date."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raglift import cli
from raglift.grounding.claims import Claim
from raglift.grounding.stage import Claims
from raglift.report import beside
from raglift.report.files import rebuild
from raglift.serve.result import RunResult
from raglift.serve.support import CHECKERS, check_support
from tests.judging.judges import ScriptedLLM
from tests.judging.runs import judged_run
from tests.report.test_html import Page, judged, supported
from tests.serve.test_judge import judge
from tests.sliced_runs import HURT, sliced_run
from tests.tasks import QUIET

KEY = "evaluation"
CLAIM = Claim("Ferry 3 sails at 3 o'clock.", "Ferry 3 sails at 3 o'clock.", True, "sentence", "d3")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored")
    sliced_run(root)
    return root


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> RunResult:
    shutil.copytree(stored, tmp_path / "indexes")
    return RunResult(tmp_path / "indexes" / "runs" / "demo")


def put(run: RunResult, **files: Any) -> None:
    for name, value in files.items():
        (run.folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def page(run: RunResult) -> str:
    return Page((run.folder / "report.html").read_text("utf-8")).text()


def test_a_report_of_before_gets_slices_and_both_files_say_the_same(run: RunResult) -> None:
    value = rebuild(run, QUIET)
    assert value["slices"]["rows"][0]["slice"] == HURT
    assert json.loads((run.folder / "report.json").read_text("utf-8")) == json.loads(json.dumps(value))
    assert run.report == value
    assert "Where tuning hurt" in page(run)
    assert (value["judges"], value["support"], value["left_out"]) == ({}, None, [])


def test_slices_that_are_there_are_not_computed_again(run: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rebuild(run, QUIET)
    monkeypatch.setattr("raglift.report.slices.build", None)
    before = (run.folder / "report.html").read_bytes()
    assert rebuild(RunResult(run.folder), QUIET)["slices"] == json.loads(json.dumps(first["slices"]))
    assert (run.folder / "report.html").read_bytes() == before


def test_what_judge_and_support_left_is_shown(run: RunResult) -> None:
    put(run, judge={"large": judged() | {"evaluation": KEY}}, support=supported() | {"evaluation": KEY})
    value = rebuild(run, QUIET)
    assert set(value["judges"]) == {"large"}
    assert value["left_out"] == []
    assert "What judges say of the answers" in page(run)
    assert "Whether answers are grounded" in page(run)


def test_what_they_left_of_an_earlier_evaluation_is_not_shown_and_goes_when_the_files_go(run: RunResult) -> None:
    new = judged() | {"evaluation": KEY}
    put(run, judge={"old": judged() | {"evaluation": "before"}, "new": new}, support=supported())
    value = rebuild(run, QUIET)
    assert set(value["judges"]) == {"new"}
    assert value["support"] is None
    assert value["left_out"] == [
        "'old' in judge.json is not shown, because it is about answers of an earlier evaluation; "
        "raglift judge writes it anew.",
        "support.json is not shown, because it is about answers of an earlier evaluation; "
        "raglift support writes it anew.",
    ]
    assert all(note in page(run) for note in ("'old' in judge.json is not shown", "support.json is not shown"))
    (run.folder / "judge.json").unlink()
    assert rebuild(run, QUIET)["judges"] == {}


@pytest.mark.parametrize(
    ("checker", "model", "learned"),
    [("trained", False, True), ("cross_encoder", True, True), ("lexical", False, False)],
)
def test_every_checker_is_shown_for_what_it_is(run: RunResult, checker: str, model: bool, learned: bool) -> None:
    assert checker in CHECKERS
    balanced = {"balanced_accuracy": 0.82, "balanced_interval": [0.78, 0.86]}
    found = supported() | {"evaluation": KEY, "checker": checker}
    put(run, support=found | {"health": found["health"] | balanced})
    value = rebuild(run, QUIET)
    assert value["left_out"] == []
    assert value["support"]["health"]["balanced_interval"] == [0.78, 0.86]
    assert ("a small model" in page(run), "weighed by what claims" in page(run)) == (model, learned)
    assert "0.78 to 0.86" in page(run)


def change(value: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(value))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return copy


@pytest.mark.parametrize(
    "broken",
    [
        lambda good: [],
        lambda good: None,
        lambda good: "text",
        lambda good: {"m": 1},
        lambda good: {"m": {}},
        lambda good: {"m": change(good, "questions", "correctness", "health", "youden", to="high")},
        lambda good: {"m": change(good, "questions", "correctness", "health", "youden", to=float("nan"))},
        lambda good: {"m": change(good, "scores", "human", "base", "correctness", "coverage", to=7)},
        lambda good: {"m": change(good, "scores", "human", to=[1])},
        lambda good: {"m": change(good, "differences", to=[{}])},
        lambda good: {"m": change(good, "own_answers", to={"a": 1})},
        lambda good: {"m": change(good, "scores", "human", "base", "correctness", "ci_low", to=None)},
        lambda good: {"m": change(good, "scores", "human", "base", "correctness", "observed", to=None)},
        lambda good: {"\ud800": good},
    ],
)
def test_a_foreign_judge_file_is_left_out_with_a_note(run: RunResult, broken: Callable[[Any], Any]) -> None:
    put(run, judge=broken(judged() | {"evaluation": KEY}))
    value = rebuild(run, QUIET)
    assert value["judges"] == {}
    (note,) = value["left_out"]
    assert "judge.json" in note
    assert "raglift judge writes it anew" in note
    assert "What judges say" not in page(run)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"checker": "magic"}', '{"a": NaN}', "\ufeff{}"])
def test_a_broken_support_file_is_left_out_with_a_note(run: RunResult, text: str) -> None:
    (run.folder / "support.json").write_text(text, encoding="utf-8")
    value = rebuild(run, QUIET)
    assert value["support"] is None
    assert ["support.json" in note for note in value["left_out"]] == [True]


def test_hostile_words_in_the_files_are_text(run: RunResult) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    told = change(judged() | {"evaluation": KEY}, "questions", "correctness", "health", "refused", to=bad)
    put(run, judge={bad: told})
    rebuild(run, QUIET)
    html = (run.folder / "report.html").read_text("utf-8")
    assert "<img" not in html
    assert bad in page(run)


def test_a_judge_may_have_brackets_in_its_name(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    name = "large [4bit] [/bold]"
    put(run, judge={name: change(judged() | {"evaluation": KEY}, "judge", "name", to=name)})
    assert cli.main(["report", "demo", "--workspace", str(run.workspace)]) == 0
    assert name in capsys.readouterr().out


def test_a_judges_question_may_have_any_name(run: RunResult) -> None:
    told = judged() | {"evaluation": KEY}
    put(run, judge={"m": told | {"questions": told["questions"] | {"items": told["questions"]["correctness"]}}})
    assert set(rebuild(run, QUIET)["judges"]["m"]["questions"]) == {*told["questions"], "items"}


def test_the_command_shows_and_writes_all_of_it(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    put(run, judge={"large": judged() | {"evaluation": KEY}}, support={"checker": "magic"})
    assert cli.main(["report", "demo", "--workspace", str(run.workspace)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Tuning certainly hurt in" in printed
    assert "large on known answers" in printed
    assert "support.json is not shown" in printed
    assert "What judges say" in page(run)


@pytest.mark.parametrize("balanced", [{}, {"balanced_accuracy": 0.82, "balanced_interval": [0.78, 0.86]}])
def test_the_command_shows_a_checker_of_this_version_and_of_the_last(
    run: RunResult, balanced: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = supported() | {"evaluation": KEY}
    put(run, support=found | {"health": found["health"] | balanced})
    assert cli.main(["report", "demo", "--workspace", str(run.workspace)]) == 0
    printed = capsys.readouterr().out
    assert "the lexical checker on claims" in printed
    assert ("both, as balanced accuracy" in printed) == bool(balanced)


def test_without_its_scores_a_report_is_read_as_it_is(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run.folder / "report.json").read_bytes()
    shutil.rmtree(run.workspace / "evaluation")
    assert cli.main(["report", "demo", "--workspace", str(run.workspace)]) == 0
    printed = capsys.readouterr()
    assert "Tuning was worth it." in printed.out
    assert "report.html stays as it was: The run's evaluation is not there any more" in printed.err
    assert (run.folder / "report.json").read_bytes() == before
    assert not (run.folder / "report.html").exists()


def test_what_the_commands_write_is_what_the_report_reads(
    tmp_path: Path, tiny_llm: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = judged_run(tmp_path, {"embedding": tiny_embedding, "llm": tiny_llm}, 40)
    made.judge(judge(), questions=["correctness"], quiet=True)
    made.judge(ScriptedLLM(lambda prompt: "perhaps", name="silent"), questions=["correctness"], quiet=True)
    monkeypatch.setattr("raglift.serve.support._claims", lambda run: Claims([], [], [CLAIM]))
    check_support(made, "lexical", QUIET)
    found = beside.read(made.folder, made.key("evaluation"))
    assert found["left_out"] == []
    assert {name: each["questions"]["correctness"]["health"]["believed"] for name, each in found["judges"].items()} == {
        "scripted": True,
        "silent": False,
    }
    assert set(found["support"]["sets"]["synthetic"]) == {"base", "tuned_both"}
