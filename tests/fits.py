"""Calls of the training loop as a new process would make them, and the end of such a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
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

RATE = {"embedding": 3e-3, "llm": 1e-2, "rerank": 3e-3}
STEPS = 8
EVALUATIONS = 3


QUICK: dict[str, dict[str, Any]] = {
    "elastic_weights": {"samples": 6, "length": 12, "strength": 3.0},
    "l2_sp": {"alpha": 0.01},
    "vital_parameters": {"share": 0.05},
    "gradual_unfreezing": {"depth_factor": 1.2},
    "top_layers": {"layers": 2},
}
"""Settings other than the defaults, which are for models of a useful size: of what would take its time at them, has too
few blocks or entries in a tiny model, or would hold it back for more steps than a test can take."""


def specs_named(names: tuple[str, ...]) -> list[Any]:
    """As a config lists them."""
    return [{name: QUICK[name]} if name in QUICK else name for name in names]


def strategies_named(names: tuple[str, ...]) -> list[Strategy]:
    return [plugins.load("strategy", name)(**QUICK.get(name, {})) for name in names]


def rate_of(target: Target, names: tuple[str, ...]) -> float:
    """A rate at which a tiny model learns in a few steps: the usual one, or ten times what a strategy declares."""
    return max([RATE[target], *(10 * (s.learning_rate(target) or 0.0) for s in strategies_named(names))])


def settings_of(target: Target, **changes: Any) -> Settings:
    usual = Settings(STEPS, RATE[target], weight_decay=0.1, evaluations=EVALUATIONS)
    return replace(usual, **changes)


class Killed(BaseException):
    """Stands for a process that ends here; nothing in the package may catch it."""


def killing(task: Task, loss_at: int = 0, score_at: int = 0) -> Task:
    """The task, ended at the given call (from 1) of its loss in training, not in a look before it, or of its score."""
    calls = {"loss": 0, "score": 0}

    def counted(name: str, at: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls[name] += name == "score" or args[0].training
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
    torch.manual_seed(SystemRandom().randrange(2**31))  # whatever state the process is in must not matter
    runtime = replace(runtime, checkpoint_seconds=checkpoint_seconds)
    model = tasks.load(target, folder)
    task = change(tasks.task(target, folder, model))
    settings = {"learning_rate": rate_of(target, names), **settings}
    return fit(
        model, task, strategies_named(names), settings_of(target, **settings), runtime, tasks.job(work, 5, display)
    )
