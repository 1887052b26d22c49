"""Several adapters on one base, as docs/tuning.md has it typed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from raglift.models.llm import load_causal_lm
from raglift.records import Target
from raglift.release.export import export_models
from tests import tasks
from tests.release.test_export import folders as folders
from tests.release.test_export import tuned_run
from tests.tasks import RUNTIME
from tests.test_docs import ROOT, blocks

PAGE = (ROOT / "docs" / "tuning.md").read_text("utf-8")
BOTH: dict[Target, str] = {"embedding": "bottleneck_adapter", "llm": "bottleneck_adapter"}


def typed(holding: str) -> dict[str, Any]:
    """Run the page's one block of Python with a text in it; its variables."""
    (block,) = [block for block in blocks(PAGE, "python") if holding in block]
    variables: dict[str, Any] = {}
    exec(compile(block, "docs/tuning.md", "exec"), variables)
    return variables


def test_runs_share_a_base(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bottleneck_adapter", "contracts"):
        other, _ = tuned_run(tmp_path, BOTH, folders, monkeypatch, name)
    monkeypatch.chdir(tmp_path)
    found = typed('raglift.open_run("contracts")')
    assert capsys.readouterr().out.strip()
    run, base, contracts, vectors = (found[name] for name in ("run", "base", "contracts", "vectors"))
    assert contracts.generator.model is base.generator.model
    with contracts.generator._acting():
        adapted = tasks.outputs("llm", folders["llm"], base.generator.model)
    plain = tasks.outputs("llm", folders["llm"], base.generator.model)
    assert not torch.allclose(adapted, plain, atol=1e-3)
    own = load_causal_lm(folders["llm"], run.runtime, found["folder"])
    torch.testing.assert_close(adapted, tasks.outputs("llm", folders["llm"], own), rtol=0, atol=1e-5)
    question = "What is a lease?"
    assert contracts.complete(question).text == other.llm("tuned_llm").complete(question).text
    tuned = other.embedding("tuned_embedding").get_query_embedding(question)
    assert vectors.get_query_embedding(question) == pytest.approx(tuned, abs=1e-5)
    assert run.embedding("base").get_query_embedding(question) != pytest.approx(tuned, abs=1e-3)
    for made in export_models(other, tmp_path / "models", adapter=True):
        again: Any = run.llm if made.target == "llm" else run.embedding
        name = getattr(again("base", adapter=made.folder), "name", "") or again("base", adapter=made.folder).model_name
        assert name == (contracts.name if made.target == "llm" else vectors.model_name)


def test_adapters_of_models_of_your_own(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders["llm"], tmp_path / "my-base")
    for name in ("contracts", "patents"):
        run, _ = tuned_run(tmp_path / "runs", BOTH, folders, monkeypatch, name)
        shutil.copytree(run.models.path("llm", "tuned"), tmp_path / name / "model")
    monkeypatch.chdir(tmp_path)
    found = typed('adapters.use("contracts")')
    assert capsys.readouterr().out == "patents\n"
    adapters = found["adapters"]
    assert (adapters.names, adapters.active) == (["contracts", "patents"], None)
    base = tasks.outputs("llm", folders["llm"], found["model"])
    assert torch.equal(base, tasks.outputs("llm", folders["llm"], load_causal_lm(folders["llm"], RUNTIME)))
    with adapters.using("contracts"):
        assert not torch.allclose(tasks.outputs("llm", folders["llm"], found["model"]), base, atol=1e-3)
