"""The only training loop: strategies plug hooks into it, the development split chooses what it returns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from raglift.artifacts import WORK
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.records import Target
from raglift.training import checkpoint
from raglift.training.accelerating import accelerator, average_gradients, total
from raglift.training.checkpoint import Progress
from raglift.training.forecast import FEWEST, WORTH_SAYING, Plan, untouched
from raglift.training.parameters import trainable
from raglift.training.randomness import seed_everything
from raglift.training.schedule import Settings
from raglift.training.strategy import Scored, Strategy
from raglift.training.study import Batches, Study


def _equally(_: Any) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained: `loss(model, batch)` falls, `score(model)` on the development split should rise.

    Attributes:
        weight: What a batch counts where several make one step, such as the learned tokens that its loss is a mean of.
        base_score: What is to be beaten, where it is not the model as it begins: a head that is new says nothing yet.
        memory_fix: What to do where a step does not fit into memory; None: lower the keys of the target's section.
    """

    target: Target
    batches: Batches
    loss: Callable[[nn.Module, Any], Tensor]
    score: Callable[[nn.Module], float]
    weight: Callable[[Any], float] = _equally
    base_score: float | None = None
    memory_fix: str | None = None


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
        self._accelerator = accelerator(runtime, f"{task.target}-{job.out.name}", asdict(settings))
        study = Study(
            task.target, self._base, task.batches, task.loss, self._accelerator.autocast, job.seed, job.display
        )
        for strategy in strategies:
            strategy.begin(model, study)
        # Fused: one pass over the weights, where the plain one takes a dozen.
        self._optimizer = torch.optim.AdamW(self._groups(), lr=settings.learning_rate, fused=True)
        self._state = self._resumed() or self._begun()

    def _groups(self) -> list[dict[str, Any]]:
        """One group a learning rate, from every parameter that may train now or later; what a schedule freezes has no
        gradient and is passed over by the optimizer, weight decay included."""
        rates = [strategy.rates(self._model, self._task.target) for strategy in self._strategies]
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self._parameters.items():
            factor = math.prod(rate.get(name, 1.0) for rate in rates)
            groups.setdefault(factor, []).append(parameter)
        decay = self._settings.weight_decay
        return [{"params": found, "factor": factor, "weight_decay": decay} for factor, found in groups.items()]

    def _begun(self) -> Progress:
        began = time.monotonic()
        score = self._score() if self._task.base_score is None else self._task.base_score
        self._job.display.say(f"  base on the development split: {score:.4f}")
        if self._runtime.forecast and self._settings.steps >= FEWEST:
            if self._task.base_score is not None:
                self._score()  # for its time alone
            self._foretell(time.monotonic() - began)
        return Progress(best=dict(self._base), best_score=score, history=[{"step": 0, "dev": score}])

    def _foretell(self, scoring_seconds: float) -> None:
        """Say what the training will take, by two steps of which nothing is left, and refuse what does not fit."""
        task, settings, parameters = self._task, self._settings, self._parameters
        learning = sum(parameter.numel() * parameter.element_size() for parameter in parameters.values())
        count, device = settings.accumulation * self._accelerator.num_processes, self._runtime.device
        plan = Plan(
            task.target,
            settings,
            self._strategies,
            task.batches,
            device,
            learning,
            count,
            scoring_seconds,
            task.memory_fix,
        )
        with untouched(self._model, self._base, self._optimizer, self._strategies):
            found = plan.forecast(lambda step, places: self._update(step, places, everything=True))
        if found.seconds >= WORTH_SAYING:
            self._job.display.say(f"  {found}")
        plan.check(found)

    def _resumed(self) -> Progress | None:
        state = checkpoint.load_newest(self._checkpoints, self._job.display.warn)
        if state is None:
            return None
        self._load(state.weights)
        state.best = {name: weight.to(self._parameters[name].device) for name, weight in state.best.items()}
        checkpoint.restore_optimizer(self._optimizer, self._parameters, state.optimizer)
        for place, strategy in enumerate(self._strategies):
            kept = {key.partition("/")[2]: v for key, v in state.strategies.items() if key.startswith(f"{place}/")}
            strategy.restore(self._model, kept)
        self._job.display.say(f"  going on from step {state.step}")
        return state

    def train(self) -> None:
        """To the last step or out of patience, with a checkpoint at every scoring and every so many seconds."""
        state, settings = self._state, self._settings
        marks, saved = settings.marks, time.monotonic()
        name = f"training the {self._task.target} model"
        with self._job.display.stage(name, settings.steps, "steps", done=state.step) as bar:
            while state.step < settings.steps and not self._out_of_patience():
                loss = self._step()
                state.step += 1
                state.loss_sum += loss
                state.loss_count += 1
                bar.advance(1)
                if state.step in marks:
                    self._evaluate()
                if state.step in marks or time.monotonic() - saved > self._runtime.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()

    def _out_of_patience(self) -> bool:
        patience, scored = self._settings.patience, [entry["step"] for entry in self._state.history]
        return patience is not None and sum(step > self._state.best_step for step in scored) >= patience

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            self._state.weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
            self._state.optimizer = checkpoint.optimizer_state(self._optimizer, self._parameters)
            self._state.strategies = {
                f"{place}/{name}": tensor
                for place, strategy in enumerate(self._strategies)
                for name, tensor in strategy.state(self._model).items()
            }
            checkpoint.save(self._checkpoints, self._state)
        self._accelerator.wait_for_everyone()

    def _step(self) -> float:
        step, count = self._state.step, self._settings.accumulation * self._accelerator.num_processes
        loss, rate, norm = self._update(step, range(step * count, (step + 1) * count))
        self._accelerator.log({"loss": loss, "learning rate": rate, "gradient norm": norm}, step=step)
        return loss

    def _update(self, step: int, places: Sequence[int], everything: bool = False) -> tuple[float, float, float]:
        """A step on the batches at the places of all processes; returns loss, learning rate, norm of the gradient.

        Args:
            everything: Whether what a schedule keeps frozen at this step learns all the same.
        """
        model, settings = self._model, self._settings
        rate = settings.learning_rate * settings.rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        model.train()
        for strategy in self._strategies:
            strategy.before_step(model, step, settings.steps)
        for parameter in self._parameters.values() if everything else ():
            parameter.requires_grad_(True)
        loss = self._backward(places)
        average_gradients(self._accelerator, self._parameters.values())
        for strategy in self._strategies:
            strategy.after_backward(model)
        norm = torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), settings.clip)
        self._optimizer.step()
        for strategy in self._strategies:
            strategy.after_step(model)
        self._optimizer.zero_grad(set_to_none=True)
        return loss, rate, float(norm)

    def _backward(self, places: Sequence[int]) -> float:
        """Fill the gradients with the mean of a step's batches, by what each counts; returns the loss."""
        batches = self._task.batches
        own = places[self._accelerator.process_index :: self._accelerator.num_processes]
        found = [batches.batch(*divmod(place, len(batches))) for place in own]
        weights = [self._task.weight(batch) for batch in found]
        whole, loss = total(self._accelerator, sum(weights)), 0.0
        for place, batch, weight in zip(own, found, weights, strict=True):
            seed_everything(self._job.seed, place)
            with self._accelerator.autocast():
                terms = {"objective": self._task.loss(self._model, batch)}
                for strategy in self._strategies:
                    terms |= strategy.losses(self._model, batch)
                summed = torch.stack([term.float() for term in terms.values()]).sum() * (weight / whole)
            self._accelerator.backward(summed)
            loss += float(summed.detach())
        return total(self._accelerator, loss)

    def _score(self) -> float:
        """The main process scores and tells the others, so that none ever chooses another state."""
        scores = [0.0]
        if self._accelerator.is_main_process:
            self._model.eval()
            with torch.no_grad():
                scores = [self._task.score(self._model)]
        return float(broadcast_object_list(scores)[0])

    def _evaluate(self) -> None:
        state, score = self._state, self._score()
        loss = state.loss_sum / max(1, state.loss_count)
        state.loss_sum, state.loss_count = 0.0, 0
        state.history.append({"step": state.step, "loss": loss, "dev": score})
        self._job.display.say(f"  step {state.step}: loss {loss:.4f}, development split {score:.4f}")
        self._accelerator.log({"development split": score}, step=state.step)
        if score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.best = self._weights()
        if any(strategy.keeps_states for strategy in self._strategies):
            state.states[state.step] = {name: weight.cpu() for name, weight in self._weights().items()}

    def _weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def _load(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])

    def choose(self) -> Fitted:
        """The best of base, checkpoints, mixes and soups; a mix is with the best checkpoint, or the last."""
        state = self._state
        scored = [
            Candidate("base" if not entry["step"] else f"step {entry['step']:.0f}", entry["dev"])
            for entry in state.history
        ]
        name = "base" if state.best_step == 0 else f"step {state.best_step}"
        best, score = state.best, state.best_score
        tuned = state.best if state.best_step else self._weights()
        scores = {int(entry["step"]): entry["dev"] for entry in state.history}
        states = [Scored(f"step {step}", scores[step], weights) for step, weights in sorted(state.states.items())]
        owner = next((strategy for strategy in self._strategies if strategy.axis == "parameters"), Strategy())

        def mix(share: float) -> dict[str, Tensor]:
            return owner.mix(self._base, tuned, share)

        def offer(label: str, weights: dict[str, Tensor]) -> float:
            nonlocal name, best, score
            self._load(weights)
            candidate = Candidate(label, self._score())
            scored.append(candidate)
            if candidate.score > score:
                name, best, score = label, weights, candidate.score
            return candidate.score

        for strategy in self._strategies:
            for label, mixed in strategy.candidates(mix):
                offer(label, mixed)
            strategy.soups(states, offer)
        self._load(best)
        self._model.eval()
        for tracker in self._accelerator.trackers:
            tracker.finish()
        return Fitted(self._model, name, tuple(scored), tuple(state.history))
