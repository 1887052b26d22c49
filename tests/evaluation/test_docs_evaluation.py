"""docs/evaluation.md as it is typed: every example runs and prints what it says."""

from __future__ import annotations

import re

import pytest

from tests.test_docs import ROOT, blocks

BLOCKS = blocks((ROOT / "docs" / "evaluation.md").read_text("utf-8"), "python")


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_print_what_they_say(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    promised = re.findall(r"^print\(.*\)  +# (.+)$", block, re.MULTILINE)
    assert promised
    exec(compile(block, "docs/evaluation.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == promised


def test_there_is_an_example() -> None:
    assert BLOCKS
