"""Accumulated batches give the gradient of one large batch, whatever the strategy adds to it.

Two laws, both before the optimizer moves, since AdamW's first step is nearly the sign of a gradient and would make
much of a rounding:

- Where a loss is a mean over what `Objective.weight` counts (a language model's tokens, a question's own passages),
  batches of unequal sizes accumulate to the gradient of one batch of all their rows.
- Where the rows of a batch are compared with each other (in-batch negatives, a ranking's divergence from the base),
  there is no such batch: they accumulate to the mean of the batches' own gradients, by weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from raglift import plugins
from raglift.config import PluginSpec
from raglift.models.llm import load_tokenizer
from raglift.records import Target
from raglift.training.embedding_objective import EmbeddingObjective
from raglift.training.examples import ExampleBatches
from raglift.training.loop import Task, fit
from raglift.training.objective import Objective
from raglift.training.outcome import objective_of
from raglift.training.pairs import PairBatches
from raglift.training.parameters import trainable
from raglift.training.strategy import Axis, Strategy
from raglift.training.study import Batches, Study
from tests import tasks
from tests.fits import settings_of, strategies_named
from tests.tasks import RUNTIME
from tests.test_contracts import Combination, _alone, _each, every_strategy
from tests.tiny import QUESTIONS, build_llm
from tests.training.test_objectives_learn import mined

ROWS = len(QUESTIONS)
SMALL = 3
"""Rows of a small batch: eight rows make batches of three, three and two, with unequal numbers of tokens and hard
negatives."""
NOISE = 0.02

Grads = dict[str, Tensor]


class Staged:
    """`Batches` that strategies look at before the first step, and those of the step: places in epoch 0 of any."""

    def __init__(self, before: Batches, step: Sequence[tuple[Batches, int]]) -> None:
        self.before, self.step = before, step
        self.begun = False

    def __len__(self) -> int:
        return len(self.before)

    def batch(self, epoch: int, index: int) -> Any:
        """A batch for a strategy's look, and after it one of the step's."""
        batches, place = self.step[index] if self.begun else (self.before, index)
        return batches.batch(0, place)


class Watched(Strategy):
    """The last strategy of a training: moves the weights off the base before the first step, so that what pulls toward
    it pulls, and keeps the gradients as the optimizer gets them."""

    axis: ClassVar[Axis] = "tasks"
    _staged: Any = PrivateAttr(None)
    _found: Grads = PrivateAttr(default_factory=dict)

    def begin(self, model: nn.Module, study: Study) -> None:
        """Move what learns, by the same noise in every training."""
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for parameter in trainable(model).values():
                parameter.add_(NOISE * torch.randn(parameter.shape, generator=generator))
        self._staged.begun = True

    def after_backward(self, model: nn.Module) -> None:
        """Keep the gradients."""
        self._found = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in trainable(model).items()
        }


def gradients(
    target: Target, names: tuple[str, ...], folder: Path, work: Path, make: Callable[[nn.Module], tuple[Staged, Task]]
) -> Grads:
    """What one step of the loop gives the optimizer, all batches of the step accumulated, without dropout."""
    model = tasks.load(target, folder)
    staged, task = make(model)
    loss, watched = task.loss, Watched()
    watched._staged = staged
    still = replace(task, batches=staged, loss=lambda model, batch: loss(model.eval(), batch), score=lambda _: 0.0)
    settings = settings_of(target, steps=1, evaluations=1, accumulation=len(staged.step))
    fit(model, still, [*strategies_named(names), watched], settings, RUNTIME, tasks.job(work, 5))
    return watched._found


def assert_equal(found: Grads, expected: Grads) -> None:
    """Within float32's rounding, of each tensor beside all of the gradient."""
    assert found.keys() == expected.keys()
    whole = float(torch.stack([value.norm() for value in expected.values()]).norm())
    assert whole > 1e-3
    for name, value in expected.items():
        assert float((found[name] - value).norm()) < 1e-5 * whole, name


def cut(objective: Objective, folder: Path, model: Any, size: int) -> Batches:
    """The same eight rows in batches of a size."""
    if isinstance(objective, EmbeddingObjective):
        rows = mined() if objective.needs_teacher() else tasks.pairs()
        return PairBatches(rows, {}, model, size, 1, objective.compares_batch())
    examples = tasks.examples(tasks.chat_renderer(folder))
    return ExampleBatches(examples, load_tokenizer(folder), RUNTIME.device, size, 1)


def check_one_large_batch(
    target: Target, names: tuple[str, ...], objective: Objective, folder: Path, work: Path
) -> None:
    def found(large: bool) -> Grads:
        def make(model: nn.Module) -> tuple[Staged, Task]:
            small, whole = (cut(objective, folder, model, size) for size in (SMALL, ROWS))
            assert (len(small), len(whole)) == (3, 1)
            weights = [objective.weight(small.batch(0, index)) for index in range(3)]
            assert len(set(weights)) > 1
            assert sum(weights) == pytest.approx(objective.weight(whole.batch(0, 0)))
            staged = Staged(small, [(whole, 0)] if large else [(small, index) for index in range(3)])
            return staged, Task(target, staged, objective.build(model), lambda _: 0.0, objective.weight)

        return gradients(target, names, folder, work / str(large), make)

    assert_equal(found(large=False), found(large=True))


MEANS_OF_ROWS = {"embedding": "listwise", "llm": "answer_only"}
"""Target -> an objective of it that compares no rows."""


def _by_row() -> Iterator[Combination]:
    """The strategies beside which rows stay by themselves; an embedding model's anchor may compare passages."""
    for target, names in _alone():
        compared = target == "embedding" and plugins.load("strategy", names[0]).axis == "anchor"
        if target in MEANS_OF_ROWS and not compared:
            yield target, names


@_each(_by_row())
def test_of_rows_by_themselves_it_is_one_large_batch(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    objective = objective_of(PluginSpec(name=MEANS_OF_ROWS[target]))
    check_one_large_batch(target, names, objective, folders[target], tmp_path)


BY_ROW: list[tuple[str, dict[str, Any]]] = [
    ("margin_mse", {}),
    ("matryoshka", {"dims": [32, 8], "objective": "margin_mse"}),
    ("matryoshka", {"dims": [32, 8], "objective": "listwise"}),
    ("answer_only", {"prompt_weight": 0.1}),
    ("distillation", {"teacher": "the larger", "top_k": 16}),
]


@pytest.mark.parametrize(("name", "settings"), BY_ROW, ids=[f"{name}-{n}" for n, (name, _) in enumerate(BY_ROW)])
def test_under_every_objective_that_compares_no_rows(
    name: str, settings: dict[str, Any], folders: dict[Target, Path], tmp_path: Path
) -> None:
    if "teacher" in settings:
        settings = {**settings, "teacher": str(build_llm(tmp_path / "larger", seed=7))}
    objective = objective_of(PluginSpec(name=name, settings=settings))
    check_one_large_batch(objective.target, ("full",), objective, folders[objective.target], tmp_path)


@every_strategy
def test_of_rows_that_are_compared_it_is_the_mean_of_the_batches_gradients(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder, counts = folders[target], []

    def found(*places: int) -> Grads:
        def make(model: nn.Module) -> tuple[Staged, Task]:
            task = tasks.task(target, folder, model)
            assert len(task.batches) == 2
            counts[:] = [task.weight(task.batches.batch(0, place)) for place in range(2)]
            return Staged(task.batches, [(task.batches, place) for place in places]), task

        return gradients(target, names, folder, tmp_path / repr(places), make)

    first, second, both = found(0), found(1), found(0, 1)
    share = counts[0] / sum(counts)
    assert_equal(both, {name: share * value + (1 - share) * second[name] for name, value in first.items()})
