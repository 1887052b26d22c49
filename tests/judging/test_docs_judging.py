"""docs/judging.md as it is typed: every example runs and prints what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from raglift import plugins
from raglift.config_judge import judge_config
from raglift.judging.sheets import Sheet
from raglift.serve.sheet import write_sheet
from tests.judging.judges import ScriptedLLM, part
from tests.judging.runs import judged_run
from tests.test_docs import ROOT, blocks, inline

TEXT = (ROOT / "docs" / "judging.md").read_text("utf-8")
BLOCKS = blocks(TEXT, "python")


def promised(block: str) -> list[str]:
    """What stands behind a print, or in the comments under a loop."""
    return [match[1] for match in re.finditer(r"^(?:print\(.*\)  +)?# (.+)$", block, re.MULTILINE)]


def knows(prompt: str) -> str:
    """A judge that never errs, in whatever form it is asked."""
    if part(prompt, "answer"):
        reference = part(prompt, "reference").split("\n")[0].removeprefix("- ")
        return "Yes" if reference in part(prompt, "answer") and " not " not in part(prompt, "answer") else "No"
    return "YES"


def labelled(*given: Any, **settings: Any) -> Sheet:
    """A sheet, and what a reader saves who always prefers what stands first."""
    made = write_sheet(*given, **settings)
    lines = [json.dumps({"id": pair.id, "label": "A"}) + "\n" for pair in made.pairs]
    Path("labels.jsonl").write_text("".join(lines), encoding="utf-8")
    return made


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_examples_print_what_they_say(
    number: int,
    tmp_path: Path,
    tiny_llm: Path,
    tiny_embedding: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = BLOCKS[number]
    monkeypatch.chdir(tmp_path)
    if "ragas" in block:
        pytest.importorskip("ragas")
    if "open_run" in block:
        judged_run(tmp_path / "indexes", {"embedding": tiny_embedding, "llm": tiny_llm}, 80, "quickstart")
    if "write_sheet" in block:
        monkeypatch.setattr("raglift.serve.sheet.write_sheet", labelled)
    names = {"__name__": "example", "llm": ScriptedLLM(knows)}
    exec(compile(block, "docs/judging.md", "exec"), names)
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("WARNING")]
    assert printed == promised(block)


def test_the_examples_promise_something() -> None:
    assert all(promised(block) for block in BLOCKS)


def test_the_file_of_a_judge_is_one(tmp_path: Path) -> None:
    (block,) = blocks(TEXT, "yml")
    (tmp_path / "judge.yaml").write_text(block, encoding="utf-8")
    config = judge_config(str(tmp_path / "judge.yaml"))
    assert config.model == yaml.safe_load(block)["model"]
    assert [spec.name for spec in config.questions] == ["correctness", "guideline"]


def test_every_question_is_described() -> None:
    assert set(plugins.names("judge question")) <= set(inline(TEXT))
