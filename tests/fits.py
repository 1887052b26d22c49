"""Calls of the training loop as a new process would make them, and the end of such a process."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from raglift import plugins
from raglift.models.device import Runtime
from raglift.progress import Progress
from raglift.records import Target
from raglift.training.loop import Fitted, Task, fit
from raglift.training.schedule import Settings
from raglift.training.strategy import Strategy
from tests import tasks
from tests.tasks import QUIET, RUNTIME

RATE = {"embedding": 3e-3, "llm": 1e-2}
STEPS = 8
EVALUATIONS = 3


def strategies_named(names: tuple[str, ...]) -> list[Strategy]:
    return [plugins.load("strategy", name)() for name in names]


def rate_of(target: Target, names: tuple[str, ...]) -> float:
    """A rate at which a tiny model learns in a few steps: the usual one, or ten times what a strategy declares."""
    return max([RATE[target], *(10 * strategy.learning_rates.get(target, 0.0) for strategy in strategies_named(names))])


def settings_of(target: Target, **changes: Any) -> Settings:
    usual = Settings(STEPS, RATE[target], weight_decay=0.1, evaluations=EVALUATIONS)
    return replace(usual, **changes)


class Killed(BaseException):
    """Stands for a process that ends here; nothing in the package may catch it."""


def killing(task: Task, loss_at: int = 0, score_at: int = 0) -> Task:
    """The task, ended at the given call (from 1) of its loss or its score."""
    calls = {"loss": 0, "score": 0}

    def counted(name: str, at: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls[name] += 1
            if calls[name] == at:
                raise Killed
            return call(*args)

        return run

    return replace(task, loss=counted("loss", loss_at, task.loss), score=counted("score", score_at, task.score))


def run_fit(
    target: Target,
    names: tuple[str, ...],
    folder: Path,
    work: Path,
    *,
    change: Callable[[Task], Task] = lambda task: task,
    display: Progress = QUIET,
    runtime: Runtime = RUNTIME,
    checkpoint_seconds: float = 0,
    **settings: Any,
) -> Fitted:
    """One `fit` of a fresh model, as a new process would do it."""
    torch.manual_seed(random.randrange(2**31))  # whatever state the process is in must not matter
    runtime = replace(runtime, checkpoint_seconds=checkpoint_seconds)
    model = tasks.load(target, folder)
    task = change(tasks.task(target, folder, model))
    loop = settings_of(target, **({"learning_rate": rate_of(target, names)} | settings))
    return fit(model, task, strategies_named(names), loop, runtime, tasks.job(work, 5, display))
