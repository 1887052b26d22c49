"""What a strategy is: hooks into the only training loop.

A strategy file holds one subclass of `Strategy` and names it `PLUGIN`. Its fields are its hyper-parameters, checked
when the config is read; its class attributes say what it is for. It never owns a loop, so that every strategy gets
resuming, selection on the development split and the progress display for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from raglift.records import Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from raglift.job import Job
    from raglift.models.device import Runtime
    from raglift.training.study import Study
    from raglift.training.token_runs import Run

    State = Mapping[str, Tensor]

Axis = Literal["parameters", "schedule", "anchor", "tasks", "meta", "combine"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate: its name, its score on the development split, and its trainable weights, on the processor."""

    name: str
    score: float
    weights: State


@dataclass(frozen=True, slots=True)
class Shortened:
    """A model whose lower part, which no step changes, is looked up and not computed.

    Attributes:
        model: Takes what the whole model takes, gives what it gives, and is prepared, trained and scored in its place.
        whole: The whole model with what the short one has learned in it.
        fill: Computes what will be looked up, given the tokens of all training texts; None: the short model does so
            when it meets a text.
    """

    model: nn.Module
    whole: Callable[[nn.Module], nn.Module]
    fill: Callable[[Iterable[Run], Job], None] | None = None


class Strategy(BaseModel):
    """Hooks, in the order in which the loop calls them; each does nothing unless a strategy says otherwise.

    Attributes:
        axis: The question that the strategy answers; a run has at most one strategy an axis.
        targets: The kinds of model that it can tune.
        family: The family of tuning methods that it belongs to.
        approach: The approach within the family.
        when: When to use it.
        paper: Where it comes from.
        full_precision: Whether the base weights themselves are updated and so must be held in float32.
        learning_rates: The learning rate that suits it, by target; empty where it does not decide what changes.
        needs_mixes: Whether its candidates are mixes of base and tuned weights.
        layered: Whether what it lets learn may lie in several of the model's blocks.
        by_depth: Whether it goes by the depth at which parameters lie; it clashes with one that is not `layered`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: ClassVar[Axis]
    targets: ClassVar[frozenset[Target]] = frozenset({"embedding", "llm", "rerank"})
    family: ClassVar[str]
    approach: ClassVar[str]
    when: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1
    full_precision: ClassVar[bool] = False
    learning_rates: ClassVar[Mapping[Target, float]] = {}
    layered: ClassVar[bool] = True
    by_depth: ClassVar[bool] = False
    needs_mixes: ClassVar[bool] = False

    def learning_rate(self, target: Target) -> float | None:
        """The learning rate that suits it with its settings; None where it does not decide what changes."""
        return self.learning_rates.get(target)

    @property
    def keeps_passages(self) -> bool:
        """Whether a tuned embedding model gives passages the vectors that the base gives them."""
        return False

    def shortened(self, model: nn.Module, target: Target, runtime: Runtime) -> Shortened | None:
        """The model with what lies below all that will change computed once for each input; None: as it is.

        A stage asks before `prepare`, which is then called with the short model. What is looked up was computed without
        dropout.
        """
        return None

    def prepare(self, model: nn.Module, target: Target) -> nn.Module:
        """Freeze, inject modules, choose masks; returns the model that will be trained."""
        return model

    def begin(self, model: nn.Module, study: Study) -> None:
        """Look at the prepared model and the data once, before the first step; the model holds the base weights.

        An interrupted training begins anew from the same base and the same data, so that what is found here (masks,
        importances) is found again and need not be kept.
        """

    def rates(self, model: nn.Module, target: Target) -> Mapping[str, float]:
        """Parameter name -> factor on the learning rate; 1 for what is not named. Factors of strategies multiply."""
        return {}

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        """Schedules; `step` counts from 0."""

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Extra loss terms by name, added to the objective's."""
        return {}

    def after_backward(self, model: nn.Module) -> None:
        """Change the gradients, before they are clipped: masks, surgery."""

    def after_step(self, model: nn.Module) -> None:
        """Projections, masks, pulls toward the base weights, after the optimizer has moved; gradients still stand."""

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the trainable weights for the training to go on from it unchanged."""
        return {}

    def restore(self, model: nn.Module, state: State) -> None:
        """Put back what `state` gave, after `begin`: where an interrupted training goes on, and after steps that were
        tried before the first one."""

    def mixes(self) -> bool:
        """Whether there is a `mix`; where not, a strategy that needs mixes is refused beside it."""
        return True

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        """The trainable weights that give `(1 - share) * base + share * tuned` as a whole model."""
        return {name: base[name].lerp(tuned[name], share) for name in base}

    def candidates(self, mix: Callable[[float], dict[str, Tensor]]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Further states that the development split may choose, by name; `mix(share)` lies between base and tuned."""
        return iter(())

    @property
    def keeps_states(self) -> bool:
        """Whether the states that training scores are kept for `soups`; each takes the memory of what trains."""
        return False

    def soups(self, states: Sequence[Scored], offer: Callable[[str, dict[str, Tensor]], float]) -> None:
        """Offer averages of several states: `offer(name, weights)` scores one and may choose it.

        Args:
            states: Those scored during the training, in their order; empty unless `keeps_states`.
        """

    def further_scorings(self, scored: int) -> int:
        """Most states that `candidates` and `soups` have scored beside the `scored` ones of the training itself."""
        return 0

    def save(self, model: nn.Module, folder: Path) -> bool:
        """Write what the strategy added into `folder`; False where the whole model is to be written instead."""
        return False

    def finish(self, model: nn.Module) -> nn.Module:
        """Merge into plain weights where that is possible."""
        return model


def shortened_by(
    strategies: Sequence[Strategy], model: nn.Module, target: Target, runtime: Runtime
) -> Shortened | None:
    """The model as the strategy shortens it that decides what may change; None where none does."""
    try:
        found = (strategy.shortened(model, target, runtime) for strategy in strategies)
        return next((short for short in found if short is not None), None)
    except ValueError:  # its settings do not fit the model: `prepare` refuses them in words
        return None
