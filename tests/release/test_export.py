"""Tuned models leave a run as folders of their own libraries, whatever form they are kept in."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

import raglift
from raglift import cli
from raglift.errors import UserError
from raglift.models.encoder import load_encoder
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Target
from raglift.release.export import export_models
from raglift.serve.result import RunResult
from raglift.training.outcome import write_outcome
from tests import tasks
from tests.contracts.test_merging import PLAIN
from tests.stored_runs import stored_run
from tests.tasks import RUNTIME
from tests.test_contracts import run_stage

KEPT = [
    ("embedding", "full", "whole"),
    ("embedding", "lora", "whole"),
    ("embedding", "embedding_head", "whole"),
    ("embedding", "vital_parameters", "sparse.safetensors"),
    ("llm", "full", "whole"),
    ("llm", "lora", "adapter_config.json"),
    ("llm", "bias_only", "sparse.safetensors"),
]
"""A strategy for each form in which a target's training is kept: a whole model, or the file that marks a difference."""

Run = tuple[RunResult, dict[Target, Tensor]]


def tuned_run(
    tmp_path: Path,
    strategies: dict[Target, str],
    folders: dict[Target, Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str = "demo",
) -> Run:
    """A stored run with trainings that won, and the outputs of each tuned model as it was when its training ended; the
    base stays where no strategy is named."""
    expected: dict[Target, Tensor] = {}

    def write(out: Path, target: Target) -> None:
        if target not in strategies:
            write_outcome(out, target, find_model(str(folders[target])), [], None, None)
            return
        work = tmp_path / name / target
        expected[target], _ = run_stage(target, (strategies[target],), folders[target], work, monkeypatch)
        shutil.rmtree(work / "work")
        shutil.copytree(work, out, dirs_exist_ok=True)

    writers = {target: partial(write, target=target) for target in folders}
    return stored_run(tmp_path / "indexes", folders, writers, name), expected


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


@pytest.mark.parametrize(("target", "strategy", "form"), KEPT)
def test_a_plain_library_loads_what_was_tuned(
    target: Target,
    strategy: str,
    form: str,
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, expected = tuned_run(tmp_path, {target: strategy}, folders, monkeypatch)
    kept = run.models.path(target, "tuned")
    assert form == "whole" or (kept / form).exists()
    found = {each.target: each for each in export_models(run, tmp_path / "out" / "models")}
    assert {each.target for each in found.values() if each.folder is None} == {"embedding", "llm"} - {target}
    folder = found[target].folder
    assert folder == tmp_path / "out" / "models" / target
    assert not found[target].adapter
    assert not (folder / form).exists()
    loaded: nn.Module = PLAIN[target](folder)
    assert not any("raglift" in type(module).__module__ for module in loaded.modules())
    outputs = tasks.outputs(target, folders[target], loaded)
    torch.testing.assert_close(outputs, expected[target], rtol=0, atol=1e-5)
    base = tasks.load(target, folders[target])
    assert not torch.allclose(outputs, tasks.outputs(target, folders[target], base), atol=1e-3)
    if target == "llm":
        tokenizer, own = load_tokenizer(folder), load_tokenizer(folders["llm"])
        assert (tokenizer.get_vocab(), tokenizer.chat_template) == (own.get_vocab(), own.chat_template)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["models"]


@pytest.mark.parametrize(
    ("target", "strategy", "kept"),
    [
        *((target, strategy, True) for target, strategy, form in KEPT if form != "whole"),
        ("embedding", "bottleneck_adapter", True),
        ("llm", "bottleneck_adapter", True),
        ("llm", "full", False),
    ],
)
def test_adapters_are_copied_as_they_are_where_that_is_wanted(
    target: Target,
    strategy: str,
    kept: bool,
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, expected = tuned_run(tmp_path, {target: strategy}, folders, monkeypatch)
    (made,) = export_models(run, tmp_path / "out", [target], adapter=True)
    source, folder = run.models.path(target, "tuned"), made.folder
    assert folder is not None
    assert made.adapter == kept
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in source.iterdir()
    }
    load: Any = load_encoder if target == "embedding" else load_causal_lm
    outputs = tasks.outputs(target, folders[target], load(folders[target], RUNTIME, folder))
    torch.testing.assert_close(outputs, expected[target], rtol=0, atol=1e-5)


def test_a_peft_folder_goes_onto_the_plain_base(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = tuned_run(tmp_path, {"llm": "lora"}, folders, monkeypatch)
    made = raglift.export_models(run, tmp_path / "out", adapter=True)
    assert made == {"embedding": None, "llm": tmp_path / "out" / "llm"}
    adapted = PeftModel.from_pretrained(PLAIN["llm"](folders["llm"]), str(made["llm"]))
    outputs = tasks.outputs("llm", folders["llm"], adapted)
    torch.testing.assert_close(outputs, expected["llm"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_what_has_no_plain_weights_is_said_before_anything_is_written(
    target: Target, folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Target = "llm" if target == "embedding" else "embedding"
    run, _ = tuned_run(tmp_path, {target: "bottleneck_adapter", other: "full"}, folders, monkeypatch)
    with pytest.raises(UserError, match=f"The {target} model's adapter cannot be merged") as caught:
        export_models(run, tmp_path / "out")
    assert "--adapter" in caught.value.fix
    assert not (tmp_path / "out").exists()
    assert export_models(run, tmp_path / "out", [other])[0].folder == tmp_path / "out" / other


def test_the_command_writes_both_models_and_says_where(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = tuned_run(tmp_path, {"embedding": "bias_only", "llm": "lora"}, folders, monkeypatch)
    words = ["export", str(run.folder), "--to"]
    assert cli.main([*words, str(tmp_path / "both"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value == {target: str(tmp_path / "both" / target) for target in folders}
    assert cli.main([*words, str(tmp_path / "one"), "--model", "llm", "--adapter"]) == 0
    assert capsys.readouterr().out.split() == ["llm:", str(tmp_path / "one" / "llm"), "(an", "adapter)"]
    assert cli.main([*words, str(tmp_path / "one")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_where_the_base_won_nothing_is_written(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = tuned_run(tmp_path, {}, folders, monkeypatch)
    assert cli.main(["export", str(run.folder), "--to", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().out.count("the base won") == 2
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_nothing_behind(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = tuned_run(tmp_path, {"embedding": "full", "llm": "lora"}, folders, monkeypatch)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("raglift.release.export.load_tokenizer", fail)
    (tmp_path / "place").mkdir()
    with pytest.raises(UserError, match="is full"):
        export_models(run, tmp_path / "place" / "out")
    assert not list((tmp_path / "place").iterdir())
    with pytest.raises(UserError, match="no model called 'embeding'") as caught:
        export_models(run, tmp_path / "place" / "out", ["embeding"])
    assert "'embedding'" in caught.value.why


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "x", "--out", "y"], "--out does not go with that"),
        (["--to", "x", "--split", "dev"], "--split does not go with that"),
        (["--to", "x", "--passages", "chunks"], "--passages does not go with that"),
        (["--format", "squad", "--out", "y", "--adapter"], "--adapter does not go with that"),
        (["--format", "squad", "--out", "y", "--model", "llm"], "--model does not go with that"),
        (["--format", "squad"], "--out is missing"),
    ],
)
def test_options_of_models_and_of_questions_do_not_mix(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "any", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--to", "x", "--format", "squad"], ["--to", "x", "--model", "both"]])
def test_a_command_must_say_which(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", "any", *words])
    assert "error" in capsys.readouterr().err
