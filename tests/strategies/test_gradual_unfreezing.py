"""The order in which groups begin to learn, and rates by depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from raglift.config import PluginSpec
from raglift.config_check import check_specs
from raglift.errors import UserError
from raglift.records import Target
from raglift.strategies.full import Full
from raglift.strategies.gradual_unfreezing import GradualUnfreezing
from raglift.training.loop import fit
from raglift.training.parameters import depths, discriminative, trainable
from raglift.training.strategy import Axis, Strategy
from tests import tasks
from tests.fits import settings_of, strategies_named
from tests.tasks import RUNTIME


class Watch(Strategy):
    """Notes which parameters have a gradient at each step, and which the step moved."""

    axis: ClassVar[Axis] = "meta"
    learned: ClassVar[list[set[str]]] = []
    moved: ClassVar[list[set[str]]] = []
    before: ClassVar[dict[str, torch.Tensor]] = {}

    def after_backward(self, model: nn.Module) -> None:
        self.before.clear()
        self.before.update({name: value.detach().clone() for name, value in model.named_parameters()})
        self.learned.append({name for name, value in model.named_parameters() if value.grad is not None})

    def after_step(self, model: nn.Module) -> None:
        self.moved.append({n for n, value in model.named_parameters() if not torch.equal(value, self.before[n])})


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("owner", ["full", "lora"])
def test_groups_join_from_the_top_and_none_leaves(
    target: Target, owner: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    Watch.learned.clear()
    Watch.moved.clear()
    model = tasks.load(target, folders[target])
    task = tasks.task(target, folders[target], model)
    strategies = [*strategies_named((owner,)), GradualUnfreezing(unfrozen_at=0.5, depth_factor=1.5), Watch()]
    fitted = fit(model, task, strategies, settings_of(target, steps=12), RUNTIME, tasks.job(tmp_path))
    found = depths(fitted.model)
    names = {name: min(found[name], 2) for name in trainable(fitted.model)}
    assert len(names) > 4, "all may learn again afterwards"
    # Adapters lie in blocks alone: two groups, else the embeddings are a third.
    begins = {2: 0, 1: 6} if owner == "lora" else {2: 0, 1: 3, 0: 6}
    for step, (learned, moved) in enumerate(zip(Watch.learned, Watch.moved, strict=True)):
        may = {name for name, depth in names.items() if step >= begins[depth]}
        assert learned <= may
        assert {names[name] for name in learned} == {names[name] for name in may}, step
        assert moved == learned, "weight decay moves nothing that waits"


@pytest.mark.parametrize(
    ("groups", "unfrozen_at", "total", "begins"),
    [
        (4, 0.5, 12, [0, 2, 4, 6]),
        (3, 1.0, 10, [0, 4, 9]),
        (2, 0.1, 10, [0, 1]),
        (5, 0.5, 4, [0, 0, 1, 2, 2]),
        (3, 1.0, 1, [0, 0, 0]),
    ],
)
def test_groups_join_at_even_distances(groups: int, unfrozen_at: float, total: int, begins: list[int]) -> None:
    strategy = GradualUnfreezing(unfrozen_at=unfrozen_at)
    strategy._groups = [[] for _ in range(groups)]
    for step in range(total):
        assert strategy.learning(step, total) == sum(step >= begin for begin in begins), step
    assert strategy.learning(total - 1, total) == groups


def test_several_blocks_may_make_a_group(tiny_llm: Path, tmp_path: Path) -> None:
    model = tasks.load("llm", tiny_llm)
    study: Any = None
    strategy = GradualUnfreezing(blocks=2)
    strategy.begin(model, study)
    assert [len(group) > 1 for group in strategy._groups] == [True, False]  # both blocks, then the embeddings
    with pytest.raises(UserError, match="lies in one group"):
        GradualUnfreezing(blocks=2).begin(strategies_named(("lora",))[0].prepare(model, "llm"), study)
    with pytest.raises(UserError, match="no list of transformer blocks"):
        strategy.begin(nn.Linear(2, 2), study)


def test_what_lies_above_the_highest_block_that_learns_goes_with_it(tiny_embedding: Path) -> None:
    model = tasks.load("embedding", tiny_embedding).requires_grad_(False)
    kept = [
        name for name in dict(model.named_parameters()) if "layer.0." in name or "pooler" in name or "embed" in name
    ]
    for name in kept:
        model.get_parameter(name).requires_grad_(True)
    strategy = GradualUnfreezing()
    strategy.begin(model, None)  # type: ignore[arg-type]
    first = {id(value) for value in strategy._groups[0]}
    names = {name for name, value in trainable(model).items() if id(value) in first}
    assert names == {name for name in kept if "layer.0." in name or "pooler" in name}


def test_the_rate_falls_from_layer_to_layer(tiny_embedding: Path, tiny_llm: Path) -> None:
    for folder, target in ((tiny_embedding, "embedding"), (tiny_llm, "llm")):
        model = tasks.load(target, folder)  # type: ignore[arg-type]
        found, rates = depths(model), discriminative(model, 2.6)
        assert {found[name]: rate for name, rate in rates.items()} == pytest.approx(
            {3: 1.0, 2: 1.0, 1: 1 / 2.6, 0: 1 / 2.6**2}
        )
        assert rates == GradualUnfreezing().rates(model, "llm") == Full(depth_factor=2.6).rates(model, "llm")
        assert Full().rates(model, "llm") == {}
    with pytest.raises(ValidationError):
        Full(depth_factor=0.5)


def test_slower_layers_move_less(tiny_llm: Path, tmp_path: Path) -> None:
    """Adam's first step is the rate times the gradient's sign."""
    model = tasks.load("llm", tiny_llm)
    base = {name: value.detach().clone() for name, value in model.named_parameters()}
    scores = iter(range(9))
    task = replace(tasks.task("llm", tiny_llm, model), score=lambda _: float(next(scores)))
    settings = settings_of("llm", steps=1, evaluations=1, weight_decay=0.0)
    fitted = fit(model, task, [Full(depth_factor=4)], settings, RUNTIME, tasks.job(tmp_path))
    for name, value in fitted.model.named_parameters():
        rate = settings.learning_rate * {2: 1.0, 1: 0.25, 0: 1 / 16}[min(depths(model)[name], 2)]
        assert float((value.detach() - base[name]).abs().max()) == pytest.approx(rate, rel=0.02), name


def test_what_trains_nothing_in_the_blocks_clashes_when_the_config_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [PluginSpec(name="full"), PluginSpec(name="gradual_unfreezing")]
    assert check_specs("embedding", specs) == []
    monkeypatch.setattr(Full, "layered", False)
    for order in (specs, specs[::-1]):
        ((path, message),) = check_specs("embedding", order)
        assert path == (order.index(specs[1]),)
        assert (
            message
            == "'gradual_unfreezing' goes by the depth of what learns, and with 'full' nothing in the blocks does"
        )
