"""How long a run's arms take is asked of its own questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raglift import cli
from raglift.errors import UserError
from raglift.index.latency import Latency
from raglift.records import QAPair, write_jsonl
from raglift.serve.latency import run_latencies
from raglift.serve.result import RunResult

FOUND = [Latency("searching", 0.25, 1.5), Latency("whole", 2.0, 3.125)]


class Retriever:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def latencies(self, questions: Sequence[str]) -> list[Latency]:
        self.asked += questions
        return FOUND


def scored(folder: Path, *questions: str) -> tuple[Any, Retriever]:
    """A run that was scored on these questions, in two sets."""
    folder.mkdir()
    pairs = [QAPair(f"q{row}", text, (), (), "what", "test", "human") for row, text in enumerate(questions)]
    for name, some in (("human", pairs[::2]), ("synthetic", pairs[1::2])):
        write_jsonl(folder / f"{name}-questions.jsonl", some)
    retriever = Retriever()
    run = SimpleNamespace(
        artifact=lambda stage: SimpleNamespace(path=folder),
        config=SimpleNamespace(seed=3),
        retriever=lambda arm: retriever,
        chosen_arm="tuned_hybrid",
    )
    return run, retriever


def test_different_questions_of_every_set_are_asked_in_a_seeded_order(tmp_path: Path) -> None:
    run, retriever = scored(tmp_path / "a", *"abcdea")
    assert run_latencies(run, None, 100) == FOUND
    first = list(retriever.asked)
    assert sorted(first) == list("abcde")
    run_latencies(run, "hybrid", 3)
    again = list(retriever.asked[5:])
    run_latencies(run, "hybrid", 3)
    assert len(again) == 3
    assert retriever.asked[8:] == again


@pytest.mark.parametrize("count", [0, -1])
def test_without_questions_it_says_so(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="no question to ask"):
        run_latencies(scored(tmp_path / "a", "a")[0], None, count)
    with pytest.raises(UserError, match="no question to ask"):
        run_latencies(scored(tmp_path / "b")[0], None, 10)


def test_the_command_prints_the_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run: RunResult = scored(tmp_path / "a", "a", "b")[0]
    monkeypatch.setattr("raglift.serve.result.open_run", lambda name, workspace: run)
    assert cli.main(["index", "latency", "demo", "--questions", "1"]) == 0
    printed = capsys.readouterr().out
    assert "milliseconds a question, tuned_hybrid" in " ".join(printed.split())
    assert "searching" in printed
    assert "3.12" in printed
    assert cli.main(["index", "latency", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"stage": "whole", "p50": 2.0, "p95": 3.125}
