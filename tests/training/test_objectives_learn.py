"""Every objective on the one loop: it learns, and a training that was killed goes on to the same weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raglift import plugins
from raglift.config import PluginSpec
from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.find import find_model
from raglift.models.flattened import rows_of
from raglift.models.llm import load_tokenizer
from raglift.progress import Progress
from raglift.training.columns import Columns
from raglift.training.embedding_objective import EmbeddingObjective
from raglift.training.embedding_stage import learnable
from raglift.training.examples import ExampleBatches
from raglift.training.loop import Task
from raglift.training.objective import Objective
from raglift.training.outcome import embedding_objective_of, objective_key, objective_of
from raglift.training.pairs import Pair, PairBatches
from raglift.training.study import Batches
from tests import tasks
from tests.fits import STEPS, Killed, killing, run_fit
from tests.tasks import RUNTIME, bits, same
from tests.tiny import build_llm

SETTINGS: dict[str, dict[str, Any]] = {
    "cached_multiple_negatives": {"mini_batch_size": 3},
    "gist": {"temperature": 0.05},
    "matryoshka": {"dims": [32, 16, 8]},
    "distillation": {"teacher": "the larger"},
}
FURTHER: list[tuple[str, dict[str, Any]]] = [
    ("answer_only", {"prompt_weight": 0.1}),
    ("gist", {"mini_batch_size": 3, "temperature": 0.05}),
    ("matryoshka", {"dims": [32, 8], "objective": {"cached_multiple_negatives": {"mini_batch_size": 3}}}),
    ("matryoshka", {"dims": [32, 8], "objective": "listwise"}),
    (
        "multiple_negatives",
        {"directions": ["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"], "scale": 10.0},
    ),
    ("distillation", {"teacher": "the larger", "top_k": None, "share": 1.0}),
]
# Those of the reranker learn from lists: tests/training/test_rerank_objectives.py.
NAMES = [name for name in plugins.names("objective") if plugins.load("objective", name).target != "rerank"]
ALL = [(name, SETTINGS.get(name, {})) for name in NAMES] + FURTHER

every_objective = pytest.mark.parametrize(
    ("name", "settings"), ALL, ids=[f"{name}-{number}" for number, (name, _) in enumerate(ALL)]
)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llm(tmp_path_factory.mktemp("larger"), seed=7)


def made(name: str, settings: dict[str, Any], larger: Path) -> Objective:
    given = {key: str(larger) if value == "the larger" else value for key, value in settings.items()}
    return objective_of(PluginSpec(name=name, settings=given))


def mined() -> list[Pair]:
    """Eight pairs with a hard negative or two each, which a teacher scores well below the right passage."""
    rows = tasks.pairs()
    found = []
    for row, pair in enumerate(rows):
        wrong = [(row + n) % 8 for n in range(1, 2 + row % 2)]
        texts, ids = tuple(rows[n].passage for n in wrong), tuple(f"c{n}" for n in wrong)
        scores = (9.0, *(float(n % 3) for n in wrong))
        found.append(replace(pair, negatives=texts, negative_ids=ids, scores=scores))
    return found


def task_of(objective: Objective, folder: Path, hard: bool) -> Callable[[Task], Task]:
    """The usual task with another objective, and with hard negatives if `hard`."""
    model = tasks.load(objective.target, folder)
    batches: Batches
    if isinstance(objective, EmbeddingObjective):
        rows = mined() if hard else tasks.pairs()
        batches = PairBatches(rows, {}, model, 4, 1, objective.compares_batch())  # type: ignore[arg-type]
    else:
        rows_ = tasks.examples(tasks.chat_renderer(folder))
        batches = ExampleBatches(rows_, load_tokenizer(folder), RUNTIME.device, 4, seed=1)
    loss = objective.build(model)

    def score(scored: nn.Module) -> float:
        return -tasks.fixed_loss(scored, batches, loss)

    return lambda task: replace(task, batches=batches, loss=loss, score=score, weight=objective.weight)


def fits(objective: Objective) -> list[bool]:
    """Whether batches without and with hard negatives fit."""
    if not isinstance(objective, EmbeddingObjective):
        return [False]
    return [True] if objective.needs_teacher() else [False, True]


@every_objective
@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_it_learns_from_every_batch_that_fits(
    name: str,
    settings: dict[str, Any],
    strategy: str,
    tiny_llm: Path,
    tiny_embedding: Path,
    larger: Path,
    tmp_path: Path,
) -> None:
    objective = made(name, settings, larger)
    folder = tiny_llm if objective.target == "llm" else tiny_embedding
    for hard in fits(objective):
        change = task_of(objective, folder, hard)
        work = tmp_path / str(hard)
        fitted = run_fit(objective.target, (strategy,), folder, work, change=change, steps=30, checkpoint_seconds=30.0)
        assert fitted.chosen != "base"
        first, last = fitted.candidates[0].score, max(candidate.score for candidate in fitted.candidates)
        assert -last < 0.9 * -first, hard
        losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
        assert losses[-1] < losses[0]


@every_objective
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_killed_and_resumed_equals_never_killed(
    name: str,
    settings: dict[str, Any],
    dtype: torch.dtype,
    tiny_llm: Path,
    tiny_embedding: Path,
    larger: Path,
    tmp_path: Path,
) -> None:
    objective = made(name, settings, larger)
    folder = tiny_llm if objective.target == "llm" else tiny_embedding
    hard = fits(objective)[-1]
    runtime = Runtime(RUNTIME.device, dtype, 1)
    at = random.randint(2, STEPS)

    def fitted(work: Path, stop: int = 0) -> dict[str, Tensor]:
        change = task_of(objective, folder, hard)
        change_and_kill = (lambda task: killing(change(task), loss_at=stop)) if stop else change
        return bits(run_fit(objective.target, ("full",), folder, work, change=change_and_kill, runtime=runtime).model)

    whole = fitted(tmp_path / "whole")
    with pytest.raises(Killed):
        fitted(tmp_path / "cut", at)
    assert same(fitted(tmp_path / "cut"), whole), f"killed at call {at}"


def test_a_large_batch_under_the_cache_is_the_step_of_one(tiny_embedding: Path, tmp_path: Path) -> None:
    """What accumulation cannot give, since each accumulated batch has its own negatives."""

    def weights(name: str, size: int, **settings: Any) -> dict[str, Tensor]:
        objective = plugins.load("objective", name)(**({"mini_batch_size": 2} if "cached" in name else {}))
        model = tasks.load("embedding", tiny_embedding)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        batches = PairBatches(tasks.pairs(), {}, model, size, seed=1)  # type: ignore[arg-type]

        def change(task: Task) -> Task:
            loss = objective.build(model)
            still = lambda m, batch: loss(m.eval(), batch)  # noqa: E731
            return replace(task, batches=batches, loss=still, weight=lambda batch: float(rows_of(batch[0])))

        out = tmp_path / f"{name}-{size}"
        return bits(run_fit("embedding", ("full",), tiny_embedding, out, change=change, steps=3, **settings).model)

    whole, cached = weights("multiple_negatives", 8), weights("cached_multiple_negatives", 8)
    halves = weights("multiple_negatives", 4, accumulation=2)
    base = bits(tasks.load("embedding", tiny_embedding))

    def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
        return float(torch.stack([(left[name].float() - right[name].float()).norm() for name in base]).norm())

    moved = apart(whole, base)
    assert apart(cached, whole) < 0.02 * moved < 0.2 * moved < apart(halves, whole)


def test_only_scored_pairs_are_learned_by_the_distilled() -> None:
    rows = [*mined(), *tasks.pairs()[:2]]
    said: list[str] = []

    class Display(Progress):
        def warn(self, text: str) -> None:
            said.append(text)

    display = Display(quiet=True)
    kept = learnable(rows, embedding_objective_of(PluginSpec(name="listwise")), display)
    assert kept == mined()
    assert said == ["2 of 10 pairs have no hard negative and are left out."]
    assert learnable(rows, embedding_objective_of(PluginSpec(name="gist")), display) == rows
    assert len(said) == 1


def test_models_that_an_objective_reads_are_in_its_key(tiny_llm: Path, tiny_embedding: Path) -> None:
    base, guide = find_model(str(tiny_llm)), find_model(str(tiny_embedding))
    plain = objective_key(PluginSpec(name="multiple_negatives"))
    assert plain[0] == "multiple_negatives"
    assert len(plain) == 3
    for name, settings, revision in (
        ("distillation", {"teacher": base.name}, base.revision),
        ("gist", {"guide": guide.name}, guide.revision),
        ("matryoshka", {"objective": {"gist": {"guide": guide.name}}}, guide.revision),
    ):
        assert objective_key(PluginSpec(name=name, settings=settings))[3][-1] == revision
    inner = [
        objective_key(PluginSpec(name="matryoshka", settings={"objective": {"gist": {"margin": margin}}}))
        for margin in (0.0, 0.1)
    ]
    assert inner[0][3] != inner[1][3]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gist", {"guide": "nowhere"}),
        ("matryoshka", {"objective": {"gist": {"guide": "nowhere"}}}),
        ("listwise", {"teacher": {"cross_encoder": {"model": "nowhere"}}}),
        ("matryoshka", {"objective": {"margin_mse": {"teacher": {"language_model": {"model": "nowhere"}}}}}),
        ("distillation", {"teacher": "nowhere"}),
    ],
)
def test_what_is_nowhere_is_said_before_anything_is_built(name: str, settings: dict[str, Any], tiny_llm: Path) -> None:
    with pytest.raises(UserError, match="There is no model called 'nowhere'"):
        objective_of(PluginSpec(name=name, settings=settings)).check(find_model(str(tiny_llm)))


def test_columns_are_a_list_still(tiny_embedding: Path) -> None:
    model = tasks.load("embedding", tiny_embedding)
    batch = PairBatches(mined(), {}, model, 4, 1, in_batch=False).batch(0, 0)  # type: ignore[arg-type]
    assert isinstance(batch, Columns)
    assert isinstance(batch, list)
    assert len(batch) == len(batch.texts) == 4
    assert [len(texts) for texts in batch.texts] == [rows_of(column) for column in batch]
    assert batch.scores is not None
    for rank, rows in enumerate(batch.owners):
        assert (~batch.scores[:, 1 + rank].isnan()).nonzero().flatten().tolist() == rows.tolist()
