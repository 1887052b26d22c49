"""docs/forgetting.md as it is typed: every example runs, prints what it says, and names the keys that there are."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import raglift
from raglift.evaluation.probe import read_probe
from raglift.evaluation.retention import Retained
from raglift.records import Target
from raglift.serve.forgetting import ClosedBook, Forgetting, Model
from tests.serve.test_forgetting import SMALL, damaged, run_of
from tests.test_docs import ROOT, blocks, inline

PAGE = (ROOT / "docs" / "forgetting.md").read_text("utf-8")
ALONE, OF_A_RUN = blocks(PAGE, "python")


def test_the_arithmetic_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    promised = re.findall(r"^print\(.*\)  +# (.+)$", ALONE, re.MULTILINE)
    exec(compile(ALONE, "docs/forgetting.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == promised != []


def test_a_run_is_asked_as_it_says(
    tmp_path: Path,
    tiny_llm: Path,
    tiny_embedding: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bases: dict[Target, Path] = {"llm": tiny_llm, "embedding": tiny_embedding}
    run = run_of(tmp_path, bases, {"llm": damaged(tiny_llm, tmp_path / "llm", 0.5)})
    monkeypatch.setattr("raglift.serve.forgetting.read_probe", lambda: SMALL)
    monkeypatch.setattr(raglift, "open_run", lambda name: run, raising=False)
    exec(compile(OF_A_RUN, "docs/forgetting.md", "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["llm", "loss"], ["llm", "right"], ["llm", "token_f1"]]
    assert "kept; lost:" in lines[3]


def test_every_key_of_the_file_is_described() -> None:
    keys = {field.name for kind in (Forgetting, Model, Retained, ClosedBook) for field in dataclasses.fields(kind)}
    assert keys <= set(inline(PAGE))


def test_the_probe_is_as_large_as_it_says() -> None:
    probe = read_probe()
    words = [len(passage.text.split()) for passage in probe.passages]
    counts = [*map(len, (probe.passages, probe.questions, probe.closed_book)), min(words), max(words)]
    told = re.search(
        r"(\d+) passages of (\d+) to (\d+) words.*?(\d+) questions that.*?(\d+)\s+questions of", PAGE, re.S
    )
    assert told is not None
    passages, least, most, questions, known = map(int, told.groups())
    assert counts[:3] == [passages, questions, known]
    assert least <= counts[3]
    assert counts[4] <= most
