"""How long a training will take and how much memory, measured on two of its steps before it begins."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.records import Target
from raglift.training.memory import Meter, amount, available, is_out_of_memory, refused_beyond, resident
from raglift.training.randomness import kept_randomness
from raglift.training.schedule import Settings
from raglift.training.strategy import Strategy
from raglift.training.study import Batches

FEWEST = 16
"""Steps of a training that is worth trying two of them."""
_LOOKING = 2.0
"""Seconds that the search for the longest batches may take."""
WORTH_SAYING = 2.0
"""Seconds of the shortest training about whose length anything is said."""
_STEPS = 2


@dataclass(frozen=True, slots=True)
class Longest:
    """Batches of the first epoch, by their places: the longest first; and the mean length over the longest of them."""

    places: tuple[int, ...]
    mean: float


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of one memory: in use before, at the peak of a step, in the whole training, and that can be had."""

    name: str
    used: int
    step: int
    whole: int
    room: int

    def __str__(self) -> str:
        return f"{amount(self.whole)} of {self.name} at most, of {amount(self.room)} that can be had"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a training will take, in seconds and bytes."""

    steps: int
    step_seconds: float
    scorings: int
    scoring_seconds: float
    needs: tuple[Need, ...]

    @property
    def seconds(self) -> float:
        """Of all steps and scorings; less where the training ends out of patience."""
        return self.steps * self.step_seconds + self.scorings * self.scoring_seconds

    def __str__(self) -> str:
        return (
            f"about {_span(self.seconds)}: {self.steps:,} steps of {self.step_seconds:.2g} s, "
            f"{self.scorings} scorings of {self.scoring_seconds:.2g} s; {', '.join(map(str, self.needs))}"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A training that has not begun.

    Attributes:
        learning: Bytes of the weights that learn.
        per_step: Batches of a step, over all processes.
        scoring_seconds: What scoring the base took.
        fix: What to do where it does not fit into memory; None: lower the keys of the target's section.
    """

    target: Target
    settings: Settings
    strategies: Sequence[Strategy]
    batches: Batches
    device: torch.device
    learning: int
    per_step: int
    scoring_seconds: float
    fix: str | None = None

    def forecast(self, update: Callable[[int, Sequence[int]], Any]) -> Forecast:
        """What the training will take, from two steps on its longest batches.

        Args:
            update: Makes a step of the given number on the batches at the given places of the first epoch.

        Raises:
            UserError: A step does not fit into memory.
        """
        longest, meter = (
            find_longest(self.batches, self.settings.steps * self.per_step, self.per_step),
            Meter(self.device),
        )
        used, room = meter.used(), meter.room()
        meter.begin()
        seconds = []
        try:
            with refused_beyond(available()) if not meter.on_gpu else nullcontext():
                for step in range(_STEPS):
                    began = time.perf_counter()
                    update(step, longest.places)
                    seconds.append(time.perf_counter() - began)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            why = f"A step on the longest batches needs more than the {amount(room)} that it can have"
            raise self._too_large(f"{why}; {amount(used)} were in use before it, {self._learns()}.") from error
        marks = len(self.settings.marks)
        return Forecast(
            self.settings.steps,
            min(seconds) * longest.mean,  # the first one also warms up
            marks + sum(strategy.further_scorings(marks) for strategy in self.strategies),
            self.scoring_seconds,
            self._needs(meter, used, room),
        )

    def _needs(self, meter: Meter, used: int, room: int) -> tuple[Need, ...]:
        """A step's peak and the best state beside it, or a checkpoint, for which weights, best state and the
        optimizer's two moments are copied into the processor's memory."""
        states = len(self.settings.marks) if any(strategy.keeps_states for strategy in self.strategies) else 0
        kept, copied, peak = states * self.learning, (4 + states) * self.learning, meter.peak()
        if meter.on_gpu:
            there, host = resident(), Meter(torch.device("cpu")).room()
            return (
                Need("the GPU's memory", used, peak, peak + self.learning, room),
                Need("memory", there, there, there + kept + copied, host),
            )
        step, checkpoint = peak + self.learning + kept, used + 3 * self.learning + kept + copied
        return (Need("memory", used, peak, max(step, checkpoint), room),)

    def check(self, forecast: Forecast) -> None:
        """Refuse what does not fit.

        Raises:
            UserError: Names what was measured and what to lower.
        """
        for need in forecast.needs:
            if need.whole > need.room:
                raise self._too_large(
                    f"Two steps on the longest batches took it from {amount(need.used)} to {amount(need.step)} of "
                    f"{need.name}; with the best state and a checkpoint it is {amount(need.whole)}, and "
                    f"{amount(need.room)} can be had; {self._learns()}."
                )

    def _learns(self) -> str:
        return f"the weights that learn are {amount(self.learning)}"

    def _too_large(self, why: str) -> UserError:
        target = self.target
        fix = self.fix or (
            f"Lower {target}.batch_size (accumulation makes up for it), or {_SHORTER[target]}, for less at a step; "
            f"take lora or top_layers in {target}.strategies for less beside it; set runtime.dtype: bfloat16; or close "
            "other programs. runtime.forecast: false goes without this check."
        )
        return UserError(f"The training of the {target} model does not fit into memory.", why, fix)


_SHORTER: Mapping[Target, str] = {
    "embedding": "corpus.chunk_tokens",
    "llm": "retrieval.top_k or corpus.chunk_tokens",
    "rerank": "rerank.hard_negatives, rerank.random_negatives or corpus.chunk_tokens",
}
"""Target -> what makes its examples shorter."""


def find_longest(batches: Batches, reach: int, count: int) -> Longest:
    """The `count` longest of the first epoch's batches that a training of `reach` batches comes to.

    They are looked at in a random order, as many as there is time for. Length is the number of entries of a batch's
    tensors, padding included.
    """
    near = min(len(batches), reach)
    sizes: dict[int, int] = {}
    began = time.monotonic()
    for place in random.Random(0).sample(range(near), near):
        sizes[place] = _entries(batches.batch(0, place))
        if time.monotonic() - began > _LOOKING and len(sizes) >= count:
            break
    places = sorted(sizes, key=lambda place: (-sizes[place], place))
    chosen = [places[number % len(places)] for number in range(count)]
    largest = sum(sizes[place] for place in chosen) / count
    return Longest(tuple(chosen), sum(sizes.values()) / len(sizes) / largest if largest else 1.0)


def _entries(batch: Any) -> int:
    if isinstance(batch, Tensor):
        return batch.numel()
    if isinstance(batch, Mapping):
        return sum(map(_entries, batch.values()))
    if is_dataclass(batch):
        return sum(_entries(getattr(batch, field.name)) for field in fields(batch))
    return sum(map(_entries, batch)) if isinstance(batch, list | tuple) else 0


@contextmanager
def untouched(
    model: nn.Module,
    base: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    strategies: Sequence[Strategy],
) -> Iterator[None]:
    """Let steps be made and take them back: weights, buffers, moments, what strategies keep, and all randomness.

    Args:
        base: The weights that may change, as they are now.
        optimizer: That has made no step yet.
    """
    kept = [{name: value.clone() for name, value in strategy.state(model).items()} for strategy in strategies]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    put_back_randomness = kept_randomness()
    yield
    model.zero_grad(set_to_none=True)
    optimizer.state.clear()
    for parameter, learns in learning:
        parameter.requires_grad_(learns)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in base:
                parameter.copy_(base[name])
        for module, name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))  # a step may have put another one in its place
    for module, mode in modes:
        module.training = mode
    for strategy, state in zip(strategies, kept, strict=True):
        strategy.restore(model, state)
    put_back_randomness()


def _span(seconds: float) -> str:
    """Such as `40 s`, `12 min` or `1 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
