from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raglift import runner as runner_module
from raglift.config import Config, DataConfig, load_config
from raglift.errors import UserError
from raglift.job import Job
from raglift.progress import Progress
from raglift.runner import Runner

HOLDER = """
import sys, time
from raglift.config import Config, DataConfig
from raglift.progress import Progress
from raglift.runner import Runner
with Runner(Config(run="first", workspace=sys.argv[1], data=DataConfig(documents="d")), Progress()):
    print("ready", flush=True)
    time.sleep(120)
"""


def config(workspace: Path, run: str = "demo") -> Config:
    return Config(run=run, workspace=str(workspace), data=DataConfig(documents="d"))


def display() -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return Progress(stream=stream), stream


def state(runner: Runner) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((runner.folder / "run.json").read_text("utf-8"))
    return value


def write(job: Job) -> None:
    (job.out / "file").write_text("x")


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    progress, stream = display()
    with Runner(config(tmp_path), progress) as runner:
        assert state(runner)["state"] == "running"
        artifact = runner.stage("corpus", 1, {}, {}, write)
        assert state(runner)["stages"] == [
            {"name": "corpus", "key": artifact.key, "seconds": 0.0, "cached": False, "state": "done"}
        ]
        assert runner.folders == {"corpus": artifact.path}
        runner.finish()
    assert state(runner)["state"] == "done"
    assert state(runner)["run"] == "demo"
    assert Config.model_validate_json(json.dumps(state(runner)["config"])) == config(tmp_path)
    assert load_config([runner.folder / "config.yaml"]) == config(tmp_path)
    assert "[1] corpus: done in 0 s" in stream.getvalue()


def test_memory_is_given_back_after_a_stage_that_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(runner_module, "give_back_memory", lambda: given.append("given"))
    for name in ("first", "second"):
        with Runner(config(tmp_path, name), display()[0]) as runner:
            runner.stage("corpus", 1, {"a": 1}, {}, write)
            runner.finish()
        assert given == ["given"], "the second run finds the stage done"


def test_stages_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    def never(job: Job) -> None:
        raise AssertionError("done before")

    with Runner(config(tmp_path), display()[0]) as runner:
        first = runner.stage("corpus", 1, {"a": 1}, {}, write)
        runner.finish()
    progress, stream = display()
    with Runner(config(tmp_path, "other"), progress) as runner:
        assert runner.stage("corpus", 1, {"a": 1}, {}, never).path == first.path
        assert not runner.stage("corpus", 1, {"a": 2}, {}, write).cached
        assert not runner.stage("corpus", 2, {"a": 1}, {}, write).cached
        assert not runner.stage("corpus", 1, {"a": 1}, {"input": "k"}, write).cached
        assert [stage["cached"] for stage in state(runner)["stages"]] == [True, False, False, False]
    assert "[1] corpus: already done" in stream.getvalue()


def test_of_several_artifacts_of_a_stage_the_run_goes_on_with_one(tmp_path: Path) -> None:
    progress, stream = display()
    with Runner(config(tmp_path), progress) as runner:
        made = {n: runner.stage("llm", 1, {"n": n}, {}, write, f"llm ({n})") for n in (1, 2)}
        assert {artifact.path.parent.name for artifact in made.values()} == {"llm"}
        assert runner.folders == {f"llm ({n})": artifact.path for n, artifact in made.items()}
        runner.go_on_with("llm (2)", "llm")
        assert runner.folders == {"llm (1)": made[1].path, "llm": made[2].path}
        assert {stage["name"]: stage["key"] for stage in state(runner)["stages"]} == {
            "llm (1)": made[1].key,
            "llm": made[2].key,
        }
    assert "[1] llm (1): done in" in stream.getvalue()


def test_a_damaged_stage_is_said_and_built_again(tmp_path: Path) -> None:
    with Runner(config(tmp_path), display()[0]) as runner:
        path = runner.stage("corpus", 1, {}, {}, write).path
    (path / "file").write_text("y")
    progress, stream = display()
    with Runner(config(tmp_path), progress) as runner:
        assert not runner.stage("corpus", 1, {}, {}, write).cached
    assert "Building it again" in stream.getvalue()


@pytest.mark.parametrize(
    ("error", "ended"), [(KeyboardInterrupt, "interrupted"), (UserError, "failed"), (RuntimeError, "failed")]
)
def test_how_it_ended_is_on_disk(tmp_path: Path, error: type[BaseException], ended: str) -> None:
    def fail(job: Job) -> None:
        assert state(runner)["stages"][1]["state"] == "running"
        raise error("no")

    def run() -> None:
        with runner:
            runner.stage("corpus", 1, {}, {}, write)
            runner.stage("index", 1, {}, {}, fail)

    runner = Runner(config(tmp_path), display()[0])
    with pytest.raises(error):
        run()
    assert state(runner)["state"] == ended
    assert [stage["state"] for stage in state(runner)["stages"]] == ["done", ended]
    with Runner(config(tmp_path), display()[0]) as again:  # the lock was let go
        assert state(again)["state"] == "running"


def test_a_second_run_in_the_workspace_is_refused(tmp_path: Path) -> None:
    with Runner(config(tmp_path, "first"), display()[0]) as first:
        with (
            pytest.raises(UserError, match="Another run is using") as caught,
            Runner(config(tmp_path, "second"), display()[0]),
        ):
            pass
        assert f"process {os.getpid()}, run first" in caught.value.why
        assert not (tmp_path / "runs" / "second").exists()
        assert state(first)["state"] == "running"
        with Runner(config(tmp_path / "elsewhere", "second"), display()[0]):
            pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with (
                pytest.raises(UserError, match="Another run is using") as caught,
                Runner(config(tmp_path, "second"), display()[0]),
            ):
                pass
            assert f"process {process.pid}, run first" in caught.value.why
        finally:
            process.kill()
    with Runner(config(tmp_path, "second"), display()[0]) as runner:
        assert f"process {os.getpid()}, run second" in (tmp_path / ".holder").read_text()
        assert state(runner)["state"] == "running"


def full(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken(*args: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_workspace_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="Cannot write to the workspace"),
        Runner(config(tmp_path / "file"), display()[0]),
    ):
        pass

    runner = Runner(config(tmp_path / "full"), display()[0])
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "write_atomic", broken)
        with pytest.raises(UserError, match="Cannot write to the workspace") as caught, runner:
            pass
        assert "Input/output error" in caught.value.why
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "dump_config", lambda _: patch.setattr(os, "fsync", full) or "")
        with pytest.raises(UserError, match="is full"), runner:
            pass
    assert not list(runner.folder.iterdir())
    with Runner(config(tmp_path / "full"), display()[0]) as again:  # the lock was let go
        assert state(again)["state"] == "running"


@pytest.mark.parametrize("fault", [full, broken])
def test_a_state_that_cannot_be_written_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]
) -> None:
    progress, stream = display()

    def fail() -> None:
        with Runner(config(tmp_path), progress):
            monkeypatch.setattr(os, "fsync", fault)
            raise RuntimeError("the first error")

    with pytest.raises(RuntimeError, match="the first error"):
        fail()
    assert "could not be written" in stream.getvalue()


@pytest.mark.parametrize("at", ["before a stage", "after a stage", "at the end"])
def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def fill(patch: pytest.MonkeyPatch, runner: Runner) -> None:
        def write_and_fill(job: Job) -> None:
            write(job)
            if at == "after a stage":
                patch.setattr(runner, "_save", lambda state: (patch.setattr(os, "fsync", full), save(state)))

        save = runner._save
        runner.stage("corpus", 1, {}, {}, write)
        if at == "before a stage":
            patch.setattr(os, "fsync", full)
        runner.stage("index", 1, {}, {}, write_and_fill)
        if at == "at the end":
            patch.setattr(os, "fsync", full)
        runner.finish()

    runner = Runner(config(tmp_path), display()[0])
    with monkeypatch.context() as patch, pytest.raises(UserError, match="is full"), runner:
        fill(patch, runner)
    assert {path.name for path in runner.folder.iterdir()} == {"config.yaml", "run.json"}
    assert state(runner)["state"] == "running"  # the last that could be written; `raglift status` says interrupted
    with Runner(config(tmp_path), display()[0]) as again:
        assert again.stage("corpus", 1, {}, {}, write).cached
        assert again.stage("index", 1, {}, {}, write).cached == (at != "before a stage")
