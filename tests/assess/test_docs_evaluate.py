"""docs/evaluate-anything.md as it is typed: every example runs and prints what it says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift import cli
from tests.assess.scored_runs import questions, scored_run, scores
from tests.index.test_docs_index import promised
from tests.synthesis.fake_server import FakeServer, serving
from tests.test_docs import ROOT, blocks, command_lines

PAGE = (ROOT / "docs" / "evaluate-anything.md").read_text("utf-8")
COMMANDS = sorted(
    {line for line in command_lines(PAGE) if line.startswith(("raglift evaluate --", "raglift compare "))}
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files and runs that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"q{i}", "question": f"Question {i}?", "answer": "yes", "topics": ["a.md"]} for i in range(3)]
    answers = [{"id": f"q{i}", "answer": "yes", "documents": ["a.md"]} for i in range(3)]
    for name, lines in (("questions", rows), ("answers", answers)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    asked = questions(24)
    for seed, name in enumerate(("minilm", "bge", "seed0", "seed1", "seed2", "quickstart")):
        scored_run(
            tmp_path / "indexes", name, {"human": (asked, scores(asked, {"base": 0.0, "tuned_both": 0.1}, seed))}
        )
    return tmp_path


def test_examples_print_what_they_say(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks(PAGE, "python")
    space: dict[str, Any] = {"__name__": "example"}
    for block in found:
        exec(compile(block, "docs/evaluate-anything.md", "exec"), space)
    assert capsys.readouterr().out.splitlines() == [line for block in found for line in promised(block)]
    assert [len(promised(block)) for block in found] == [4, 1, 1, 0, 0]
    space["test_the_new_index_is_better"]()
    with pytest.raises(AssertionError, match="cannot tell"):
        space["test_two_passages_are_no_worse_than_one"]()


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_do_what_they_say(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_RAG_KEY", "a-key-that-is-none")
    with serving(FakeServer()) as server:
        assert cli.main([*shlex.split(line.replace("http://localhost:8000/v1", server.url))[1:], "--quiet"]) == 0
        assert server.requests == (3 if "--endpoint" in line else 0)


def test_the_page_has_commands_of_every_sort() -> None:
    assert {line.split()[2] for line in COMMANDS} >= {"--answers", "--endpoint", "minilm", "seed0"}
    assert callable(raglift.compare_seeds)
