"""docs/slices.md as it is typed: every example runs and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raglift.serve.result import RunResult
from tests.sliced_runs import sliced_run
from tests.test_docs import ROOT, blocks

BLOCKS = blocks((ROOT / "docs" / "slices.md").read_text("utf-8"), "python")


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_print_what_they_say(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promised = re.findall(r"^print\(.*\)  +# (.+)$", block, re.MULTILINE)
    assert promised
    monkeypatch.chdir(tmp_path)
    sliced_run(tmp_path / "indexes", "quickstart")
    monkeypatch.setattr(RunResult, "check_models", lambda run: None)  # the run has scores and no models
    exec(compile(block, "docs/slices.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == promised


def test_there_is_an_example() -> None:
    assert BLOCKS
