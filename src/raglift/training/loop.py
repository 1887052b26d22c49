"""The only training loop: strategies plug hooks into it, the development split chooses what it returns."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from raglift.artifacts import WORK
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.records import Target
from raglift.training import checkpoint
from raglift.training.checkpoint import Progress
from raglift.training.parameters import trainable
from raglift.training.strategy import Strategy


class Batches(Protocol):
    """Training data: the same batch for the same place, however often it is asked for."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def batch(self, epoch: int, index: int) -> Any:
        """Batch `index` of `epoch`; epochs are shuffled differently."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained: `loss(model, batch)` falls, `score(model)` on the development split should rise."""

    target: Target
    batches: Batches
    loss: Callable[[nn.Module, Any], Tensor]
    score: Callable[[nn.Module], float]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how hard.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak of a linear warm-up and linear decay.
        warmup: Share of the steps that warm up.
        weight_decay: AdamW's, decoupled (Loshchilov and Hutter 2019).
        evaluations: Times that the development split is scored, the last time after the last step.
        clip: Largest norm of the gradient.
    """

    steps: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.0
    evaluations: int = 4
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state that the development split scored."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out: `chosen` is "base" when nothing beat it, and the model then holds the base weights."""

    model: nn.Module
    chosen: str
    candidates: tuple[Candidate, ...]
    history: tuple[dict[str, float], ...]


def fit(
    model: nn.Module, task: Task, strategies: Sequence[Strategy], settings: Settings, runtime: Runtime, job: Job
) -> Fitted:
    """Train `model` and return the best of base, checkpoints and mixes on the development split.

    Interrupted at any point and called again with the same arguments, it goes on from the newest checkpoint in the
    job's work folder and returns the same weights: every step seeds its own randomness from (seed, step), so that no
    generator state has to be carried over.
    """
    torch.manual_seed(job.seed)  # strategies may draw what they add at random
    for strategy in strategies:
        try:
            model = strategy.prepare(model, task.target)
        except ValueError as error:
            raise UserError(
                f"The strategy {type(strategy).__name__.lower()!r} cannot be applied to the {task.target} model.",
                str(error),
                "Change its settings; `raglift strategies` says what each can tune.",
            ) from error
    loop = _Loop(model, task, strategies, settings, runtime, job)
    loop.train()
    return loop.choose()


class _Loop:
    """One training: the prepared model, its optimizer, and how far it is."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        strategies: Sequence[Strategy],
        settings: Settings,
        runtime: Runtime,
        job: Job,
    ) -> None:
        self._model = model
        self._task = task
        self._strategies = strategies
        self._settings = settings
        self._runtime = runtime
        self._job = job
        self._checkpoints = job.out / WORK / "checkpoints"
        self._parameters = trainable(model)
        self._base = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        # Groups are built from every parameter that may train now or later; what a schedule freezes has no gradient
        # and is passed over by the optimizer, weight decay included.
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._state = self._resumed() or self._begun()

    def _begun(self) -> Progress:
        score = self._score()
        self._job.display.say(f"  base on the development split: {score:.4f}")
        return Progress(best=dict(self._base), best_score=score, history=[{"step": 0, "dev": score}])

    def _resumed(self) -> Progress | None:
        state = checkpoint.load_newest(self._checkpoints, self._job.display.warn)
        if state is None:
            return None
        self._load(state.weights)
        checkpoint.restore_optimizer(self._optimizer, self._parameters, state.optimizer)
        self._job.display.say(f"  going on from step {state.step}")
        return state

    def train(self) -> None:
        """To the last step, with a checkpoint at every mark of the development split and every so many seconds."""
        state, settings = self._state, self._settings
        marks = {math.ceil(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)}
        saved = time.monotonic()
        name = f"training the {self._task.target} model"
        with self._job.display.stage(name, settings.steps, "steps", done=state.step) as bar:
            while state.step < settings.steps:
                loss = self._step()
                state.step += 1
                state.loss_sum += loss
                state.loss_count += 1
                bar.advance(1)
                if state.step in marks:
                    self._evaluate()
                if state.step in marks or time.monotonic() - saved > self._runtime.checkpoint_seconds:
                    state.weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
                    state.optimizer = checkpoint.optimizer_state(self._optimizer, self._parameters)
                    checkpoint.save(self._checkpoints, state)
                    saved = time.monotonic()

    def _step(self) -> float:
        model, task, step = self._model, self._task, self._state.step
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{self._job.seed}/{step}".encode()).digest()[:4], "big"))
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * _schedule(step, self._settings)
        model.train()
        for strategy in self._strategies:
            strategy.before_step(model, step, self._settings.steps)
        batch = task.batches.batch(*divmod(step, len(task.batches)))
        with _autocast(self._runtime):
            terms = {"objective": task.loss(model, batch)}
            for strategy in self._strategies:
                terms |= strategy.losses(model, batch)
            total = torch.stack([term.float() for term in terms.values()]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), self._settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        for strategy in self._strategies:
            strategy.after_step(model)
        return float(total.detach())

    def _score(self) -> float:
        self._model.eval()
        with torch.no_grad():
            return self._task.score(self._model)

    def _evaluate(self) -> None:
        state, score = self._state, self._score()
        loss = state.loss_sum / max(1, state.loss_count)
        state.loss_sum, state.loss_count = 0.0, 0
        state.history.append({"step": state.step, "loss": loss, "dev": score})
        self._job.display.say(f"  step {state.step}: loss {loss:.4f}, development split {score:.4f}")
        if score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.best = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def _load(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])

    def choose(self) -> Fitted:
        """The best of base, checkpoints and mixes; mixes start from the best checkpoint, or the last if all lost."""
        state = self._state
        scored = [
            Candidate("base" if not entry["step"] else f"step {entry['step']:.0f}", entry["dev"])
            for entry in state.history
        ]
        name = "base" if state.best_step == 0 else f"step {state.best_step}"
        best, score = state.best, state.best_score
        tuned = state.best if state.best_step else {key: p.detach().clone() for key, p in self._parameters.items()}
        owner = next((strategy for strategy in self._strategies if strategy.axis == "parameters"), Strategy())

        def mix(share: float) -> dict[str, Tensor]:
            return owner.mix(self._base, tuned, share)

        for strategy in self._strategies:
            for label, mixed in strategy.candidates(mix):
                self._load(mixed)
                candidate = Candidate(label, self._score())
                scored.append(candidate)
                if candidate.score > score:
                    name, best, score = label, mixed, candidate.score
        self._load(best)
        self._model.eval()
        return Fitted(self._model, name, tuple(scored), tuple(state.history))


def _schedule(step: int, settings: Settings) -> float:
    """Linear warm-up, then linear decay to zero; the first step already moves."""
    warm = max(1, round(settings.steps * settings.warmup))
    if step < warm:
        return (step + 1) / warm
    return (settings.steps - step) / max(1, settings.steps - warm)


def _autocast(runtime: Runtime) -> contextlib.AbstractContextManager[Any]:
    if not runtime.mixed:
        return contextlib.nullcontext()
    return torch.autocast(runtime.device.type, dtype=runtime.dtype)
