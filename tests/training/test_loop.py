"""The loop's own promises: schedule, hooks, selection."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from raglift.progress import Progress
from raglift.training.loop import Fitted, Task, fit
from raglift.training.parameters import trainable
from raglift.training.schedule import Settings
from raglift.training.strategy import Axis, Scored, Strategy
from raglift.training.study import Study, without_learning
from tests.tasks import QUIET, RUNTIME, job

if TYPE_CHECKING:
    from raglift.training.strategy import State


@dataclass
class Numbers:
    """Five batches an epoch; remembers what it was asked for."""

    asked: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return 5

    def batch(self, epoch: int, index: int) -> Tensor:
        self.asked.append((epoch, index))
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(100 * epoch + index))


def model_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1))


def square(model: nn.Module, batch: Tensor) -> Tensor:
    return (Tensor(model(batch)) - 1).square().mean()


def run(
    work: Path,
    score: Callable[[nn.Module], float],
    strategies: tuple[Strategy, ...] = (),
    batches: Numbers | None = None,
    display: Progress = QUIET,
    **settings: Any,
) -> Fitted:
    task = Task("embedding", batches or Numbers(), square, score)
    return fit(
        model_of(),
        task,
        strategies,
        Settings(**({"steps": 10, "learning_rate": 0.05} | settings)),
        RUNTIME,
        job(work, display=display),
    )


def scores(*values: float) -> Callable[[nn.Module], float]:
    left = iter(values)
    return lambda _: next(left)


class Recorder(Strategy):
    """Writes down every call."""

    axis: ClassVar[Axis] = "schedule"
    calls: ClassVar[list[Any]] = []

    def prepare(self, model: nn.Module, target: Any) -> nn.Module:
        self.calls.append(("prepare", target))
        return model

    def begin(self, model: nn.Module, study: Study) -> None:
        self.calls.append(("begin", len(study.batches), sorted(study.base)))

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        self.calls.append(("before", step, total, model.training))

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        return {"extra": 0.5 * torch.ones((), requires_grad=True)}

    def after_backward(self, model: nn.Module) -> None:
        self.calls.append(("gradients", all(p.grad is not None for p in model.parameters())))

    def after_step(self, model: nn.Module) -> None:
        self.calls.append(("after", all(p.grad is not None for p in model.parameters())))


class Mixer(Strategy):
    """Offers mixes at the given shares."""

    axis: ClassVar[Axis] = "anchor"
    shares: tuple[float, ...] = (0.5,)

    def candidates(self, mix: Callable[[float], dict[str, Tensor]]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for share in self.shares:
            yield f"mix {share:g}", mix(share)


class Cook(Strategy):
    """Offers the last scored state again, and then half of it if that was no worse than it had been."""

    axis: ClassVar[Axis] = "anchor"
    keeping: bool = True
    seen: ClassVar[list[tuple[str, float]]] = []

    @property
    def keeps_states(self) -> bool:
        return self.keeping

    def soups(self, states: Sequence[Scored], offer: Callable[[str, dict[str, Tensor]], float]) -> None:
        self.seen[:] = [(state.name, state.score) for state in states]
        if states and offer("again", dict(states[-1].weights)) >= states[-1].score:
            offer("half", {name: value / 2 for name, value in states[-1].weights.items()})


class Head(Strategy):
    """Only the last layer learns; without it, mixing would be the default's."""

    axis: ClassVar[Axis] = "parameters"

    def prepare(self, model: nn.Module, target: Any) -> nn.Module:
        model.requires_grad_(False)
        list(model.children())[-1].requires_grad_(True)
        return model

    def mix(self, base: State, tuned: State, share: float) -> dict[str, Tensor]:
        return {name: torch.full_like(value, share) for name, value in base.items()}


def test_hooks_are_called_in_order_and_their_terms_count(tmp_path: Path) -> None:
    Recorder.calls.clear()
    plain = run(tmp_path / "plain", scores(*range(9)), steps=3, evaluations=1)
    fitted = run(tmp_path / "with", scores(*range(9)), (Recorder(),), steps=3, evaluations=1)
    assert Recorder.calls == [
        ("prepare", "embedding"),
        ("begin", 5, ["0.bias", "0.weight", "2.bias", "2.weight"]),
        *[call for n in range(3) for call in (("before", n, 3, True), ("gradients", True), ("after", True))],
    ]
    assert fitted.history[-1]["loss"] == pytest.approx(plain.history[-1]["loss"] + 0.5, abs=1e-6)


def test_batches_are_taken_epoch_by_epoch(tmp_path: Path) -> None:
    batches = Numbers()
    run(tmp_path, scores(*range(9)), batches=batches, steps=12)
    assert batches.asked == [divmod(step, 5) for step in range(12)]


def test_the_rate_rises_then_falls_to_zero() -> None:
    settings = Settings(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 90)
    assert Settings(steps=1, learning_rate=1.0).rate(0) == 1.0


@pytest.mark.parametrize(("steps", "evaluations", "marks"), [(10, 4, [3, 5, 8, 10]), (2, 4, [1, 2]), (7, 1, [7])])
def test_the_development_split_is_scored_at_even_distances(
    tmp_path: Path, steps: int, evaluations: int, marks: list[int]
) -> None:
    fitted = run(tmp_path, scores(*range(9)), steps=steps, evaluations=evaluations)
    assert [entry["step"] for entry in fitted.history] == [0, *marks]


def test_the_best_checkpoint_is_returned_not_the_last(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []
    values = iter([0.0, 1.0, 3.0, 2.0, 3.0])

    def score(model: nn.Module) -> float:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(values)

    fitted = run(tmp_path, score)
    assert fitted.chosen == "step 5"
    assert [candidate.name for candidate in fitted.candidates] == ["base", "step 3", "step 5", "step 8", "step 10"]
    state = fitted.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in seen[2].items())
    assert not torch.equal(state["0.weight"], seen[4]["0.weight"])
    assert not fitted.model.training


def test_a_mix_starts_from_the_best_checkpoint_and_wins_only_by_more(tmp_path: Path) -> None:
    base = model_of().state_dict()
    tuned = run(tmp_path / "tuned", scores(0, 1, 2, 1, 1)).model.state_dict()
    mixed = run(tmp_path / "mixed", scores(0, 1, 2, 1, 1, 5), (Mixer(),))
    assert mixed.chosen == "mix 0.5"
    for name, value in mixed.model.state_dict().items():
        torch.testing.assert_close(value, (base[name] + tuned[name]) / 2)
    equal = run(tmp_path / "equal", scores(0, 1, 2, 1, 1, 2), (Mixer(),))
    assert equal.chosen == "step 5"


def test_a_mix_can_win_where_every_checkpoint_lost(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(5, 1, 1, 1, 1, 4, 6), (Mixer(shares=(0.75, 0.25)),))
    assert fitted.chosen == "mix 0.25"
    assert [candidate.score for candidate in fitted.candidates] == [5, 1, 1, 1, 1, 4, 6]


def test_the_owner_of_the_parameters_says_what_a_mix_is(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(0, 1, 1, 1, 1, 9), (Mixer(shares=(0.25,)), Head()))
    assert trainable(fitted.model).keys() == {"2.weight", "2.bias"}
    assert bool((fitted.model.state_dict()["2.weight"] == 0.25).all())
    assert torch.equal(fitted.model.state_dict()["0.weight"], model_of().state_dict()["0.weight"])


def test_a_soup_is_made_of_the_states_that_were_scored(tmp_path: Path) -> None:
    fitted = run(tmp_path / "half", scores(0, 4, 2, 3, 1, 1, 9), (Cook(),))
    assert Cook.seen == [("step 3", 4), ("step 5", 2), ("step 8", 3), ("step 10", 1)]
    assert [(each.name, each.score) for each in fitted.candidates[-2:]] == [("again", 1), ("half", 9)]
    last = run(tmp_path / "last", scores(0, 1, 2, 3, 4)).model.state_dict()
    assert fitted.chosen == "half"
    assert all(torch.equal(value, last[name] / 2) for name, value in fitted.model.state_dict().items())
    lost = run(tmp_path / "lost", scores(0, 4, 2, 3, 1, 0.5), (Cook(),))
    assert (lost.chosen, lost.candidates[-1].name) == ("step 3", "again")


def test_states_are_kept_only_for_who_wants_them(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(0, 4, 2, 3, 1), (Cook(keeping=False),))
    assert (Cook.seen, fitted.chosen) == ([], "step 3")


def test_what_is_to_be_beaten_may_be_something_else_than_the_model(tmp_path: Path) -> None:
    """A head that is new says nothing: what a stage does without it is the base."""
    for base_score, values, chosen in ((2.5, (1, 2, 3, 2), "step 8"), (3.0, (1, 2, 3, 2), "base")):
        task = Task("embedding", Numbers(), square, scores(*values), base_score=base_score)
        work = job(tmp_path / str(base_score))
        fitted = fit(model_of(), task, (), Settings(steps=10, learning_rate=0.05), RUNTIME, work)
        assert fitted.chosen == chosen
        assert [candidate.score for candidate in fitted.candidates] == [base_score, *values]


def test_a_score_that_is_not_a_number_never_wins(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(0.1, *[float("nan")] * 5), (Mixer(),))
    assert fitted.chosen == "base"
    state = fitted.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model_of().state_dict().items())


def test_weight_decay_does_not_move_what_is_frozen(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(*range(9)), (Head(),), weight_decay=0.5)
    assert torch.equal(fitted.model.state_dict()["0.weight"], model_of().state_dict()["0.weight"])
    assert not torch.equal(fitted.model.state_dict()["2.weight"], model_of().state_dict()["2.weight"])


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    whole = run(tmp_path, scores(*range(9)))
    batches, said = Numbers(), io.StringIO()
    again = run(tmp_path, scores(), batches=batches, display=Progress(stream=said))
    assert batches.asked == []
    assert "going on from step 10" in said.getvalue()
    assert (again.history, again.chosen) == (whole.history, whole.chosen)


class Halves(Numbers):
    """The batches of `Numbers`, each in a part of one row and a part of three."""

    def __len__(self) -> int:
        return 10

    def batch(self, epoch: int, index: int) -> Tensor:
        whole = super().batch(epoch, index // 2)
        return whole[:1] if index % 2 == 0 else whole[1:]


def without_dropout() -> nn.Module:
    model = model_of()
    model[1] = nn.Identity()  # type: ignore[index, assignment]
    return model


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path: Path) -> None:
    def trained(batches: Numbers, work: Path, **settings: Any) -> Fitted:
        task = Task("embedding", batches, square, lambda _: 1.0, weight=len)
        values = iter(range(9))
        task = replace(task, score=lambda _: float(next(values)))
        return fit(without_dropout(), task, (), Settings(7, 0.05, **settings), RUNTIME, job(work))

    whole = trained(Numbers(), tmp_path / "whole")
    parts = trained(Halves(), tmp_path / "parts", accumulation=2)
    assert [entry.get("loss") for entry in parts.history] == pytest.approx([e.get("loss") for e in whole.history])
    for name, value in parts.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_training_ends_out_of_patience_and_again_after_a_resume(tmp_path: Path) -> None:
    fitted = run(tmp_path, scores(0, 3, 2, 2), evaluations=10, patience=2)
    assert [entry["step"] for entry in fitted.history] == [0, 1, 2, 3]
    assert fitted.chosen == "step 1"
    batches = Numbers()
    again = run(tmp_path, scores(), batches=batches, evaluations=10, patience=2)
    assert (batches.asked, again.history) == ([], fitted.history)


class Rates(Strategy):
    axis: ClassVar[Axis] = "schedule"
    factors: dict[str, float]

    def rates(self, model: nn.Module, target: Any) -> dict[str, float]:
        return self.factors


def test_rates_scale_each_parameter_and_multiply(tmp_path: Path) -> None:
    """Adam's first step is the learning rate times the gradient's sign."""
    both = (Rates(factors={"0.weight": 0.5, "2.bias": 0.0}), Rates(factors={"0.weight": 0.5}))
    fitted = run(tmp_path, scores(0, 1), both, steps=1, evaluations=1, clip=1e9)
    base, state = model_of().state_dict(), fitted.model.state_dict()
    moved = {name: float((state[name] - base[name]).abs().max()) for name in base}
    assert moved == pytest.approx({"0.weight": 0.0125, "0.bias": 0.05, "2.weight": 0.05, "2.bias": 0.0}, rel=1e-3)


def test_a_study_gives_gradients_of_batches_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    found: list[dict[str, Tensor]] = []

    class Look(Strategy):
        axis: ClassVar[Axis] = "anchor"

        def begin(self, model: nn.Module, study: Study) -> None:
            model.train()
            found.extend({k: g.clone() for k, g in one.items()} for one in study.gradients(model, 2, "looking"))
            assert model.training
            assert all(p.grad is None for p in model.parameters())

    run(tmp_path, scores(*range(9)), (Look(),))
    model = without_dropout()
    for index, gradients in enumerate(found):
        model.zero_grad()
        square(model, Numbers().batch(0, index)).backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad)
    assert len(found) == 2


def test_the_base_answers_without_a_second_copy() -> None:
    model, rows = without_dropout(), Numbers().batch(0, 0)
    base = {name: value.detach().clone() for name, value in model.named_parameters()}
    before = model(rows)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(2)
    assert torch.equal(without_learning(model, base, rows), before)
    assert not torch.equal(model(rows), before)


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    norms: list[float] = []

    class Watch(Recorder):
        def after_step(self, model: nn.Module) -> None:
            norms.append(float(model.state_dict()["0.weight"].norm()))

    run(tmp_path, scores(*range(9)), (Watch(),), steps=2, evaluations=1, clip=0.0)
    assert norms[0] == norms[1] == pytest.approx(float(model_of().state_dict()["0.weight"].norm()), abs=1e-3)


class Counting(Strategy):
    """Keeps the sum of the gradients' norms beside the weights."""

    axis: ClassVar[Axis] = "schedule"
    _sum: Tensor = PrivateAttr(default_factory=lambda: torch.zeros(()))

    def after_step(self, model: nn.Module) -> None:
        self._sum = self._sum + sum(p.grad.norm() for p in model.parameters() if p.grad is not None)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        return {"sum/of norms": self._sum}

    def restore(self, model: nn.Module, state: State) -> None:
        self._sum = state["sum/of norms"]


def test_what_a_strategy_keeps_beside_the_weights_survives_an_interruption(tmp_path: Path) -> None:
    whole, other = Counting(), Counting()
    run(tmp_path / "whole", scores(*range(9)), (Recorder(), whole))
    cut = Counting()

    def interrupted() -> Iterator[float]:
        yield from (0.0, 1.0)
        raise KeyboardInterrupt

    values = interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", lambda _: next(values), (Recorder(), cut))
    run(tmp_path / "cut", scores(*range(2, 9)), (Recorder(), other))
    assert float(whole.state(model_of())["sum/of norms"]) > 0
    assert torch.equal(other.state(model_of())["sum/of norms"], whole.state(model_of())["sum/of norms"])
