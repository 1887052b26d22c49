"""Averages of tuned models as candidates."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raglift.config import PluginSpec
from raglift.errors import UserError
from raglift.records import Target
from raglift.strategies.weight_interpolation import WeightInterpolation
from raglift.training.loop import Fitted, Task, fit
from raglift.training.outcome import strategy_key
from raglift.training.parameters import trainable
from raglift.training.soup import stir
from raglift.training.strategy import Scored
from tests import tasks
from tests.fits import EVALUATIONS, STEPS, Killed, killing, settings_of, strategies_named
from tests.tasks import RUNTIME, bits, same


def states(*scores: float) -> list[Scored]:
    return [Scored(f"s{i}", score, {"w": torch.tensor([float(2**i)])}) for i, score in enumerate(scores)]


def offered(kept: list[tuple[str, float]], *scores: float) -> Callable[[str, dict[str, Tensor]], float]:
    left = iter(scores)

    def offer(name: str, weights: dict[str, Tensor]) -> float:
        kept.append((name, float(weights["w"])))
        return next(left)

    return offer


def test_the_greedy_soup_keeps_what_does_not_lower_the_score() -> None:
    kept: list[tuple[str, float]] = []
    stir(states(0.5, 0.9, 0.7, 0.8), offered(kept, 0.1, 0.95, 0.94, 0.95))
    means = {
        "soup of all 4": 15 / 4,
        "soup of s1 + s3": 5.0,  # from the best, 0.9, to 0.95: kept
        "soup of s1 + s3 + s2": 14 / 3,  # lower: left out
        "soup of s1 + s3 + s0": 11 / 3,
    }
    assert [name for name, _ in kept] == list(means)
    assert dict(kept) == pytest.approx(means)


def test_no_soup_is_scored_twice_and_none_is_made_of_one() -> None:
    kept: list[tuple[str, float]] = []
    stir(states(0.5, 0.9), offered(kept, 0.95))
    assert kept == [("soup of all 2", 1.5)]
    stir(states(0.5, float("nan")), offered(kept))
    stir([], offered(kept))
    assert len(kept) == 1


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


def trained(
    target: Target,
    folder: Path,
    owner: str,
    work: Path,
    soup: WeightInterpolation,
    change: Callable[[Task], Task] = lambda task: task,
) -> Fitted:
    torch.manual_seed(random.randrange(2**31))
    model = tasks.load(target, folder)
    task = change(tasks.task(target, folder, model))
    strategies = [*strategies_named((owner,)), soup]
    runtime = replace(RUNTIME, checkpoint_seconds=0)
    return fit(model, task, strategies, settings_of(target), runtime, tasks.job(work, 5))


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("owner", ["full", "lora"])
def test_the_states_of_a_training_are_averaged(
    target: Target, owner: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    seen: list[dict[str, Tensor]] = []

    def rising(task: Task) -> Task:
        def score(model: nn.Module) -> float:
            seen.append({name: value.detach().clone() for name, value in trainable(model).items()})
            # Until the first soup every score is higher than the one before, then it falls.
            return float(len(seen)) if len(seen) <= EVALUATIONS + 3 else 0.0

        return replace(task, score=score)

    soup = WeightInterpolation(shares=(0.5,), soup=True)
    fitted = trained(target, folders[target], owner, tmp_path, soup, rising)
    assert fitted.chosen == f"soup of all {EVALUATIONS}"
    for name, value in trainable(fitted.model).items():
        mean = sum(state[name] for state in seen[1 : 1 + EVALUATIONS]) / EVALUATIONS
        torch.testing.assert_close(value.detach(), mean)
    names = [candidate.name for candidate in fitted.candidates]
    assert names[-3:] == ["soup of all 3", "soup of step 8 + step 6", "soup of step 8 + step 3"]


@pytest.mark.parametrize(("target", "owner"), [("embedding", "full"), ("llm", "lora")])
@pytest.mark.parametrize("where", ["a step", "a scoring"])
def test_a_soup_killed_and_resumed_equals_never_killed(
    target: Target, owner: str, where: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    soup = WeightInterpolation(soup=True)
    whole = trained(target, folders[target], owner, tmp_path / "whole", soup)
    assert any(candidate.name.startswith("soup of all") for candidate in whole.candidates)
    at = random.randint(2, len(whole.candidates) if where == "a scoring" else STEPS)

    def kill(task: Task) -> Task:
        return killing(task, score_at=at) if where == "a scoring" else killing(task, loss_at=at)

    with pytest.raises(Killed):
        trained(target, folders[target], owner, tmp_path / "cut", soup, kill)
    resumed = trained(target, folders[target], owner, tmp_path / "cut", soup)
    assert (resumed.candidates, resumed.chosen) == (whole.candidates, whole.chosen), at
    assert same(bits(resumed.model), bits(whole.model)), at


def saved(target: Target, folder: Path, out: Path, seed: int) -> dict[str, Tensor]:
    """Another training's model: the base, moved."""
    model = tasks.load(target, folder)
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.01 * torch.randn_like(value))
    model.save_pretrained(str(out))  # type: ignore[operator]
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_the_models_of_other_trainings_go_into_the_soup(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    other = saved(target, folders[target], tmp_path / "run" / "model", 1)
    soup = WeightInterpolation(soup=True, others=(tmp_path / "run" / "model",))
    seen: list[dict[str, Tensor]] = []

    def watch(task: Task) -> Task:
        def score(model: nn.Module) -> float:
            seen.append({name: value.detach().clone() for name, value in model.named_parameters()})
            return float(len(seen))

        return replace(task, score=score)

    fitted = trained(target, folders[target], "full", tmp_path / "work", soup, watch)
    names = [candidate.name for candidate in fitted.candidates]
    at = names.index("run/model")
    assert all(torch.equal(seen[at][name], value) for name, value in other.items())
    assert names[at + 1] == f"soup of all {EVALUATIONS + 1}"
    for name, value in other.items():
        mean = (sum(state[name] for state in seen[1 : 1 + EVALUATIONS]) + value) / (EVALUATIONS + 1)
        torch.testing.assert_close(seen[at + 1][name], mean)


def wrong(folders: dict[Target, Path], tmp_path: Path) -> Iterator[tuple[str, Path, str]]:
    saved("llm", folders["llm"], tmp_path / "whole", 1)
    yield "lora", tmp_path / "whole", "other names or shapes"
    adapter = strategies_named(("lora",))[0]
    model = adapter.prepare(tasks.load("llm", folders["llm"]), "llm")
    adapter.save(model, tmp_path / "adapter")
    yield "full", tmp_path / "adapter", "It is an adapter"


def test_what_cannot_be_averaged_is_refused(folders: dict[Target, Path], tmp_path: Path) -> None:
    for owner, folder, why in wrong(folders, tmp_path):
        with pytest.raises(UserError, match="cannot go into the soup") as error:
            trained("llm", folders["llm"], owner, tmp_path / "work", WeightInterpolation(soup=True, others=(folder,)))
        assert why in error.value.why


def test_the_settings_of_a_soup_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="holds no safetensors"):
        WeightInterpolation(soup=True, others=(tmp_path,))
    (tmp_path / "model.safetensors").write_bytes(b"1")
    with pytest.raises(ValidationError, match="set soup to true"):
        WeightInterpolation(others=(tmp_path,))

    def key() -> object:
        settings = {"soup": True, "others": [str(tmp_path)]}
        return strategy_key([PluginSpec(name="weight_interpolation", settings=settings)])

    before = key()
    assert key() == before
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert key() != before
