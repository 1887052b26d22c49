"""The only training loop: strategies plug hooks into it, the development split chooses what it returns."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.progress import Progress as Display
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
        seed: Of dropout; data order has its own.
        checkpoint_seconds: Time between checkpoints; it does not touch the result.
    """

    steps: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.0
    evaluations: int = 4
    clip: float = 1.0
    seed: int = 0
    checkpoint_seconds: float = 30.0


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
    model: nn.Module,
    task: Task,
    strategies: Sequence[Strategy],
    settings: Settings,
    runtime: Runtime,
    work: Path,
    display: Display,
) -> Fitted:
    """Train `model` and return the best of base, checkpoints and mixes on the development split.

    Interrupted at any point and called again with the same arguments, it goes on from the newest checkpoint in `work`
    and returns the same weights: every step seeds its own randomness from (seed, step), so that no generator state
    has to be carried over.
    """
    torch.manual_seed(settings.seed)  # strategies may draw what they add at random
    for strategy in strategies:
        try:
            model = strategy.prepare(model, task.target)
        except ValueError as error:
            raise UserError(
                f"The strategy {type(strategy).__name__.lower()!r} cannot be applied to the {task.target} model.",
                str(error),
                "Change its settings; `raglift strategies` says what each can tune.",
            ) from error
    parameters = trainable(model)
    base = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    # Groups are built from every parameter that may train now or later; what a schedule freezes has no gradient and
    # is passed over by the optimizer, weight decay included.
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = _resume(work, parameters, optimizer, display) or _begin(model, task, base, display)
    _steps(model, task, strategies, settings, runtime, work, display, optimizer, parameters, state)
    return _choose(model, task, strategies, parameters, base, state)


def _begin(model: nn.Module, task: Task, base: dict[str, Tensor], display: Display) -> Progress:
    score = _score(model, task)
    display.say(f"  base on the development split: {score:.4f}")
    return Progress(best=dict(base), best_score=score, history=[{"step": 0, "dev": score}])


def _resume(
    work: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, display: Display
) -> Progress | None:
    state = checkpoint.load_newest(work / "checkpoints", display.warn)
    if state is None:
        return None
    _load(parameters, state.weights)
    checkpoint.restore_optimizer(optimizer, parameters, state.optimizer)
    display.say(f"  going on from step {state.step}")
    return state


def _steps(
    model: nn.Module,
    task: Task,
    strategies: Sequence[Strategy],
    settings: Settings,
    runtime: Runtime,
    work: Path,
    display: Display,
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, nn.Parameter],
    state: Progress,
) -> None:
    marks = {math.ceil(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)}
    saved = time.monotonic()
    with display.stage(f"training the {task.target} model", settings.steps, "steps", done=state.step) as bar:
        while state.step < settings.steps:
            loss = _step(model, task, strategies, settings, runtime, optimizer, state.step)
            state.step += 1
            state.loss_sum += loss
            state.loss_count += 1
            bar.advance(1)
            if state.step in marks:
                _evaluate(model, task, parameters, state, display)
            if state.step in marks or time.monotonic() - saved > settings.checkpoint_seconds:
                state.weights = {name: parameter.detach() for name, parameter in parameters.items()}
                state.optimizer = checkpoint.optimizer_state(optimizer, parameters)
                checkpoint.save(work / "checkpoints", state)
                saved = time.monotonic()


def _step(
    model: nn.Module,
    task: Task,
    strategies: Sequence[Strategy],
    settings: Settings,
    runtime: Runtime,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> float:
    torch.manual_seed(int.from_bytes(hashlib.sha256(f"{settings.seed}/{step}".encode()).digest()[:4], "big"))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _schedule(step, settings)
    model.train()
    for strategy in strategies:
        strategy.before_step(model, step, settings.steps)
    batch = task.batches.batch(*divmod(step, len(task.batches)))
    with _autocast(runtime):
        terms = {"objective": task.loss(model, batch)}
        for strategy in strategies:
            terms |= strategy.losses(model, batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for strategy in strategies:
        strategy.after_step(model)
    return float(total.detach())


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


def _score(model: nn.Module, task: Task) -> float:
    model.eval()
    with torch.no_grad():
        return task.score(model)


def _evaluate(
    model: nn.Module, task: Task, parameters: dict[str, nn.Parameter], state: Progress, display: Display
) -> None:
    score = _score(model, task)
    loss = state.loss_sum / max(1, state.loss_count)
    state.loss_sum, state.loss_count = 0.0, 0
    state.history.append({"step": state.step, "loss": loss, "dev": score})
    display.say(f"  step {state.step}: loss {loss:.4f}, development split {score:.4f}")
    if score > state.best_score:
        state.best_score, state.best_step = score, state.step
        state.best = {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _load(parameters: dict[str, nn.Parameter], state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])


def _choose(
    model: nn.Module,
    task: Task,
    strategies: Sequence[Strategy],
    parameters: dict[str, nn.Parameter],
    base: dict[str, Tensor],
    state: Progress,
) -> Fitted:
    """The best of base, checkpoints and mixes; mixes start from the best checkpoint, or the last if all lost."""
    scored = [
        Candidate("base" if not entry["step"] else f"step {entry['step']:.0f}", entry["dev"]) for entry in state.history
    ]
    name = "base" if state.best_step == 0 else f"step {state.best_step}"
    best, score = state.best, state.best_score
    tuned = state.best if state.best_step else {key: value.detach().clone() for key, value in parameters.items()}
    owner = next((strategy for strategy in strategies if strategy.axis == "parameters"), Strategy())

    def mix(share: float) -> dict[str, Tensor]:
        return owner.mix(base, tuned, share)

    for strategy in strategies:
        for label, mixed in strategy.candidates(mix):
            _load(parameters, mixed)
            candidate = Candidate(label, _score(model, task))
            scored.append(candidate)
            if candidate.score > score:
                name, best, score = label, mixed, candidate.score
    _load(parameters, best)
    model.eval()
    return Fitted(model, name, tuple(scored), tuple(state.history))
