"""Whole runs whose questions a server writes: kept, stopped, gone on, and nowhere a key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import raglift
from raglift.cli import main
from raglift.errors import UserError
from raglift.synthesis import llm_calls
from tests.small_runs import small_config, write_documents
from tests.synthesis.fake_server import FakeServer, serving
from tests.synthesis.llm_writing import Local
from tests.test_end_to_end import STAGES

pytestmark = pytest.mark.slow

KEY = "sk-very-secret-1234"


@pytest.fixture
def config(tmp_path: Path, tiny_llm: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Eight documents, nothing trained."""
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setattr(llm_calls, "FIRST_WAIT", 0.01)
    (tmp_path / "docs").mkdir()
    write_documents(tmp_path / "docs")
    small = small_config(tmp_path / "docs", tiny_llm, tiny_embedding)
    return {
        **small,  # the server asks nearly the same of every passage
        "run": "remote",
        "workspace": str(tmp_path / "indexes"),
        "data": {"documents": str(tmp_path / "docs")},
        "synthesis": {"filters": ["answer_in_evidence"], "model": "no such model is looked for"},
        "embedding": {**small["embedding"], "strategies": []},
        "llm": {**small["llm"], "strategies": [], "max_new_tokens": 4},
        "evaluation": {**small["evaluation"], "resamples": 50, "max_answers": 4},
    }


def remote(config: dict[str, Any], fake: FakeServer, **settings: Any) -> dict[str, Any]:
    writer = {"kind": "openai_like", "url": fake.url, "model": "m", "key_env": "SOME_KEY", **settings}
    return {**config, "synthesis": {**config["synthesis"], "writer": writer}}


def questions(config: dict[str, Any]) -> str:
    found = list(Path(config["workspace"]).glob("synthesis/*/questions.jsonl"))
    assert len(found) == 1
    return found[0].read_text("utf-8")


def test_a_run_with_a_server(config: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fake = FakeServer(script=["ok", 500, "ok", 429, "ok"], echo_key=True, delay=0.01)
    with serving(fake):
        with pytest.raises(UserError, match="budget is used up"):
            raglift.run(remote(config, fake, max_tokens=2_500))
        state = json.loads((tmp_path / "indexes/runs/remote/run.json").read_text("utf-8"))
        assert state["state"] == "failed"
        assert state["stages"][-1]["name"] == "synthesis"
        spent = fake.tokens
        assert 0 < spent <= 2_500
        run = raglift.run(remote(config, fake, max_tokens=1_000_000, concurrency=2))
        assert set(fake.finished.values()) == {1}
        requests = fake.requests
        raglift.run(remote(config, fake, price_in=1.0, price_out=1.0, retries=1), quiet=True)
        assert fake.requests == requests  # how calls are made and paid rebuilds nothing
    rows = [json.loads(line) for line in questions(config).splitlines()]
    assert {row["kind"] for row in rows} == {"factoid", "explanation", "keyword"}
    assert len({stage["key"] for stage in run.report["stages"]}) == len(STAGES)
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    assert "about" in said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert [path for path in files if b"SOME_KEY" in path.read_bytes()]  # the variable's name is no secret


def test_an_object_writes_the_same_questions(config: dict[str, Any]) -> None:
    estimate = raglift.estimate(config, writer=Local())
    assert not Path(config["workspace"]).exists()
    run = raglift.run(config, quiet=True, writer=Local())
    assert [stage["name"] for stage in run.report["stages"]] == STAGES
    fake = FakeServer(delay=0.02)
    with serving(fake):
        other = {**config, "workspace": config["workspace"] + "-2"}
        raglift.run(remote(other, fake, concurrency=8), quiet=True)
    assert questions(other) == questions(config)
    assert estimate["calls"] == fake.requests


def _calls_to_write(config: dict[str, Any]) -> int:
    filters = {"filters": ["answer_in_evidence"]}
    estimate = raglift.estimate({**config, "synthesis": {**config["synthesis"], **filters}}, writer=Local())
    return int(estimate["calls"])


def test_a_run_that_is_killed_again_and_again(config: dict[str, Any], tmp_path: Path) -> None:
    config = {**config, "synthesis": {**config["synthesis"], "filters": ["answer_in_evidence", "closed_book"]}}
    fake = FakeServer(delay=0.1)
    with serving(fake):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(remote(config, fake, concurrency=3)), encoding="utf-8")
        words = [sys.executable, "-m", "raglift", "run", str(path), "--quiet"]
        for stop_after in (3, 9, 20, _calls_to_write(config) + 3):  # the last among those without a passage
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None and sum(fake.finished.values()) < stop_after:
                time.sleep(0.005)
            process.kill()
            process.wait()
        raglift.run(remote(config, fake, concurrency=3), quiet=True)
        paid_again = sum(fake.finished.values()) - len(fake.finished)
        assert sum("Text: " not in prompt for prompt in fake.finished) > 3
        assert paid_again <= 4 * 3  # what was under way when it was killed
        whole = {**config, "workspace": config["workspace"] + "-whole"}
        raglift.run(remote(whole, fake, concurrency=1), quiet=True)
    assert questions(config) == questions(whole)


def test_the_command_that_estimates(config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeServer()
    with serving(fake):
        path = tmp_path / "config.yaml"
        path.write_text(
            yaml.safe_dump(remote(config, fake, price_in=0.5, price_out=1.5, max_tokens=100)), encoding="utf-8"
        )
        assert main(["estimate", str(path), "--quiet"]) == 0
        assert "calls for" in (text := capsys.readouterr().out)
        assert "the run will stop at it" in text
        assert main(["estimate", str(path), "--json", "synthesis.max_questions=3"]) == 0
        value = json.loads(capsys.readouterr().out)
    assert value["questions"] == 3
    assert 3 <= value["calls"] <= 6
    assert 0 < value["likely_money"] < value["most_money"] < 0.01
    assert fake.requests == 0
    assert not Path(config["workspace"]).exists()
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["estimate", str(path), "--quiet"]) == 0
    assert "written on this machine" in capsys.readouterr().out


def test_a_config_for_python_needs_an_object(config: dict[str, Any]) -> None:
    values = {**config, "synthesis": {**config["synthesis"], "writer": {"kind": "python"}}}
    with pytest.raises(UserError, match="no writer was passed"):
        raglift.run(values, quiet=True)
    assert not Path(config["workspace"]).exists()


def test_the_example_of_the_documentation(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "synthesis.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "writer=" in block)
    real = raglift.run

    def small(given: dict[str, Any], **options: Any) -> Any:
        synthesis = {**config["synthesis"], **given["synthesis"]}
        return real({**config, "run": given["run"], "synthesis": synthesis}, quiet=True, **options)

    monkeypatch.setattr(raglift, "run", small, raising=False)
    exec(compile(block, "docs/synthesis.md", "exec"), {"__name__": "example"})
    calls, *rest = capsys.readouterr().out.splitlines()
    assert 200 < int(calls.split()[0]) < 600
    assert rest
    assert any(json.loads(line)["answers"] for line in questions(config).splitlines())
