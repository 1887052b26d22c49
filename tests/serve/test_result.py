"""A run is opened with the models that it was made with, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.models.adapters.bottleneck import ATTACHED
from raglift.models.find import find_model
from raglift.records import Target
from raglift.serve.evaluate import evaluate_on
from raglift.serve.result import RunResult, open_run, read_run
from raglift.strategies.bottleneck_adapter import BottleneckAdapter
from raglift.training.outcome import write_outcome
from raglift.workspace import STATE
from tests import tasks
from tests.models.test_bottleneck import stirred
from tests.stored_runs import stored_run

TARGETS: tuple[Target, ...] = ("embedding", "llm")


@pytest.fixture
def run(tmp_path: Path, tiny_embedding: Path, tiny_llm: Path) -> RunResult:
    """A finished run that trained nothing, with base models of its own in `tmp_path / "models"`."""
    for target, model in zip(TARGETS, (tiny_embedding, tiny_llm), strict=True):
        shutil.copytree(model, tmp_path / "models" / target)
    models = {target: tmp_path / "models" / target for target in TARGETS}

    def write(out: Path, target: Target) -> None:
        write_outcome(out, target, find_model(str(models[target])), [], None, None)

    return stored_run(tmp_path / "indexes", models, {target: partial(write, target=target) for target in TARGETS})


def workspace(run: RunResult) -> Path:
    return run.folder.parent.parent


def change(tmp_path: Path, target: str) -> Path:
    """Another version of a base model in the same place; returns the file that differs."""
    file = tmp_path / "models" / target / "config.json"
    file.write_text(file.read_text("utf-8") + "\n", encoding="utf-8")
    return file


def test_a_run_whose_models_are_as_they_were_is_opened(run: RunResult) -> None:
    opened = open_run("demo", workspace(run))
    assert opened.folder == run.folder
    assert opened.models.path("llm", "tuned") == opened.models.llm.path


def test_a_run_of_another_version_says_so(run: RunResult) -> None:
    file = run.folder / "run.json"
    state = json.loads(file.read_text("utf-8"))
    state["config"]["retrieval"]["rrf_k"] = 60
    file.write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(UserError, match="was made by another version of raglift") as caught:
        open_run("demo", workspace(run))
    assert "retrieval.rrf_k" in caught.value.why


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "use",
    [
        lambda run: open_run("demo", workspace(run)),
        lambda run: open_run(run.folder),
        lambda run: run.models,
        lambda run: run.embedding("base"),
        lambda run: run.llm("base"),
        lambda run: evaluate_on(run, run.folder),
    ],
)
def test_another_base_model_in_its_place_is_refused(
    run: RunResult, tmp_path: Path, target: str, use: Callable[[RunResult], object]
) -> None:
    name = str(tmp_path / "models" / target)
    before = find_model(name).revision
    file = change(tmp_path, target)
    with pytest.raises(UserError, match=f"The {target} model '{name}' is not the one that the run 'demo'") as caught:
        use(run)
    assert before in caught.value.why
    assert find_model(name).revision in caught.value.why
    assert "raglift run" in caught.value.fix
    file.write_text(file.read_text("utf-8")[:-1], encoding="utf-8")
    open_run("demo", workspace(run))  # the earlier version is back


@pytest.mark.parametrize("target", TARGETS)
def test_a_base_model_that_is_gone_is_said(run: RunResult, tmp_path: Path, target: str) -> None:
    shutil.rmtree(tmp_path / "models" / target)
    with pytest.raises(UserError, match="There is no model called"):
        open_run("demo", workspace(run))


def test_the_report_is_read_without_the_models(run: RunResult, tmp_path: Path) -> None:
    change(tmp_path, "embedding")
    shutil.rmtree(tmp_path / "models" / "llm")
    assert read_run("demo", workspace(run)).report == {"verdict": "better"}


@pytest.mark.parametrize("read", [open_run, read_run])
def test_a_run_that_is_not_finished_is_not_opened(run: RunResult, read: Callable[..., RunResult]) -> None:
    write_json(run.folder / STATE, run.state | {"state": "failed"})
    with pytest.raises(UserError, match="The run 'demo' is not finished"):
        read("demo", workspace(run))


@pytest.mark.parametrize("target", TARGETS)
def test_an_adapter_acts_in_the_object_that_asked_for_it(run: RunResult, tmp_path: Path, target: Target) -> None:
    strategy = BottleneckAdapter(width=3)
    model = strategy.prepare(tasks.load(target, tmp_path / "models" / target), target)
    stirred(model, ATTACHED)
    strategy.save(model, tmp_path / "adapter")

    def ask(arm: str, adapter: Path | None = None) -> tuple[str, object, object, Path]:
        if target == "llm":
            llm = run.llm(arm, adapter=adapter)
            return llm.name, llm.complete("Where is low water?").text, llm.generator.model, llm.source
        embedding = run.embedding(arm, adapter=adapter)
        vector = embedding.get_text_embedding("low water")
        return embedding.model_name, vector, embedding.encoder.model, embedding.source

    name, answer, weights, source = ask("base")
    adapted = ask("base", tmp_path / "adapter")
    assert adapted[0].startswith(f"{name}+")
    assert adapted[1] != answer
    assert adapted[2] is weights
    assert (source, adapted[3]) == (tmp_path / "models" / target, tmp_path / "adapter")
    assert ask("base") == (name, answer, weights, source)
    assert ask("base", tmp_path / "adapter") == adapted
    with pytest.raises(UserError, match="holds no sound bottleneck adapter"):
        ask("base", tmp_path / "nowhere")
