"""What a training will take is measured before it begins, of which nothing is left; what does not fit is refused."""

from __future__ import annotations

import io
import mmap
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raglift import plugins
from raglift.errors import UserError
from raglift.progress import Progress
from raglift.records import Target
from raglift.training import forecast, memory
from raglift.training.forecast import FEWEST, Plan, find_longest, untouched
from raglift.training.lists import Lists
from raglift.training.loop import Fitted, Task, fit
from raglift.training.parameters import trainable
from raglift.training.schedule import Settings
from raglift.training.strategy import Axis, Strategy
from tests import tasks
from tests.fits import settings_of
from tests.tasks import QUIET, RUNTIME, bits, job, same

MB = 10**6


@dataclass
class Lengths:
    """Batches of one row that is as long as `lengths` says, in every epoch."""

    lengths: Sequence[int]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, epoch: int, index: int) -> dict[str, Any]:
        return {"ids": torch.zeros(1, self.lengths[index]), "more": [torch.zeros(1)], "text": "not counted"}


def plan(lengths: Sequence[int] = (2, 4), **changes: Any) -> Plan:
    usual = Plan("embedding", Settings(20, 0.1), (), Lengths(lengths), torch.device("cpu"), MB, 1, 0.5)
    return replace(usual, **changes)


def test_the_longest_batches_that_the_training_reaches_are_found() -> None:
    batches = Lengths([3, 9, 5, 7, 99])
    found = find_longest(batches, reach=4, count=2)
    assert found.places == (1, 3)
    assert found.mean == pytest.approx(((4 + 10 + 6 + 8) / 4) / 9)
    assert find_longest(batches, reach=100, count=1).places == (4,)
    assert find_longest(Lengths([4]), reach=8, count=3).places == (0, 0, 0)


def test_batches_without_tensors_count_alike() -> None:
    @dataclass
    class Texts(Lengths):
        def batch(self, epoch: int, index: int) -> Any:
            return ["a text"]

    assert find_longest(Texts([1, 2]), reach=2, count=1) == forecast.Longest((0,), 1.0)


def test_a_long_search_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "_LOOKING", 0.0)
    assert len(set(find_longest(Lengths(range(1, 100)), reach=99, count=3).places)) == 3


def test_time_is_of_the_mean_batch_and_scorings_are_counted() -> None:
    calls: list[tuple[int, tuple[int, ...]]] = []

    def update(step: int, places: Sequence[int]) -> None:
        calls.append((step, tuple(places)))
        time.sleep(0.2 if step == 0 else 0.1)

    found = plan((1, 3), strategies=(plugins.load("strategy", "weight_interpolation")(soup=True),)).forecast(update)
    assert calls == [(0, (1,)), (1, (1,))]
    assert 0.1 * 3 / 4 <= found.step_seconds < 0.14
    assert found.scorings == 4 + 3 + 4  # checkpoints, mixes, soups
    assert found.seconds == pytest.approx(20 * found.step_seconds + 11 * 0.5)
    assert str(found).startswith(f"about {found.seconds:.0f} s: 20 steps of ")


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.2, "3 s"), (99, "99 s"), (150, "2 min"), (3600, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_spans_are_said_in_few_words(seconds: float, said: str) -> None:
    assert forecast._span(seconds) == said


def test_the_peak_of_a_step_is_seen_and_what_comes_beside_it_is_added() -> None:
    def update(step: int, places: Sequence[int]) -> None:
        with mmap.mmap(-1, 300 * MB) as pages:  # not from the C library, which may have such memory left over
            pages[:: mmap.PAGESIZE] = bytes(len(range(0, 300 * MB, mmap.PAGESIZE)))

    need = plan(learning=20 * MB).forecast(update).needs[0]
    assert 280 * MB < need.step - need.used < 400 * MB
    assert need.whole == need.step + 20 * MB  # more than a checkpoint, which takes seven times what learns
    need = plan(learning=100 * MB).forecast(update).needs[0]
    assert need.whole == need.used + 700 * MB


def test_what_does_not_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 600 * MB)
    small, large = plan(learning=50 * MB), plan(learning=100 * MB)
    small.check(small.forecast(lambda step, places: None))
    with pytest.raises(UserError) as caught:
        large.check(large.forecast(lambda step, places: None))
    assert caught.value.what == "The training of the embedding model does not fit into memory."
    assert "the weights that learn are 100 MB" in caught.value.why
    for lowered in ("embedding.batch_size", "accumulation", "corpus.chunk_tokens", "lora", "top_layers", "dtype"):
        assert lowered in caught.value.fix
    own = replace(large, fix="Take another writer.")
    with pytest.raises(UserError) as caught:
        own.check(large.forecast(lambda step, places: None))
    assert caught.value.fix == "Take another writer."


def allocate(step: int, places: Sequence[int]) -> None:
    torch.empty(4 * 10**9, dtype=torch.uint8)  # more than the C library may have left over; no page of it is touched


ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 17179869184 bytes."),
]


@pytest.mark.parametrize("error", [*ERRORS, None], ids=lambda error: str(error)[:30] or "MemoryError")
def test_a_step_out_of_memory_is_the_same_refusal(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(step: int, places: Sequence[int]) -> None:
        raise error or AssertionError

    if error is None:  # Linux is asked to refuse what there is not
        monkeypatch.setattr(forecast, "available", lambda: 100 * MB)
    with pytest.raises(UserError, match="does not fit into memory") as caught:
        plan().forecast(update if error else allocate)
    assert "A step on the longest batches needs more than the " in caught.value.why
    assert len(torch.ones(10**9, dtype=torch.uint8)) == 10**9, "the limit is gone again"


def test_other_errors_of_a_step_pass() -> None:
    def update(step: int, places: Sequence[int]) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        plan().forecast(update)


def model_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 1))


class Rows:
    def __len__(self) -> int:
        return 5

    def batch(self, epoch: int, index: int) -> Tensor:
        return torch.randn(4 + index, 3, generator=torch.Generator().manual_seed(100 * epoch + index))


def run(
    work: Path,
    *strategies: Strategy,
    display: Progress = QUIET,
    trying: bool = True,
    memory_fix: str | None = None,
    **changes: Any,
) -> Fitted:
    scores = iter(range(99))
    task = Task(
        "embedding",
        Rows(),
        lambda m, rows: (m(rows) - 1).square().mean(),
        lambda _: float(next(scores)),
        memory_fix=memory_fix,
    )
    runtime = replace(RUNTIME, forecast=trying)
    settings = Settings(**({"steps": FEWEST, "learning_rate": 0.05, "weight_decay": 0.1} | changes))
    return fit(model_of(), task, strategies, settings, runtime, job(work, 3, display))


class Half(Strategy):
    """Keeps half of the model frozen until the second half of the training, and counts in a tensor of its own."""

    axis: ClassVar[Axis] = "schedule"
    learned: ClassVar[list[int]] = []
    counts: ClassVar[dict[int, Tensor]] = {}

    def before_step(self, model: nn.Module, step: int, total: int) -> None:
        next(iter(model.children())).requires_grad_(step >= total // 2)

    def after_step(self, model: nn.Module) -> None:
        self.learned.append(sum(p.grad is not None for p in model.parameters()))
        model.requires_grad_(True)
        self.counts.setdefault(id(self), torch.zeros(())).add_(1)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        return {"count": self.counts.setdefault(id(self), torch.zeros(()))}

    def restore(self, model: nn.Module, state: Any) -> None:
        self.counts[id(self)] = state["count"]


def test_the_two_steps_leave_no_trace(tmp_path: Path) -> None:
    found = {}
    for trying in (True, False):
        Half.learned.clear()
        Half.counts.clear()
        strategy = Half()
        fitted = run(tmp_path / str(trying), strategy, trying=trying)
        found[trying] = (fitted.history, bits(fitted.model), float(strategy.state(fitted.model)["count"]))
        assert len(Half.learned) == FEWEST + (2 if trying else 0)
        if trying:
            assert Half.learned[:3] == [6, 6, 4], "all of it is tried, though only half learns at first"
    assert found[True][0] == found[False][0]
    assert same(found[True][1], found[False][1])
    assert found[True][2] == found[False][2] == FEWEST


def test_what_was_touched_is_put_back() -> None:
    model = model_of().eval()
    model[0].bias.requires_grad_(False)  # type: ignore[union-attr]
    parameters = trainable(model)
    base, before = {name: value.detach().clone() for name, value in parameters.items()}, bits(model)
    optimizer = torch.optim.AdamW(parameters.values())
    drawn = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        with untouched(model, base, optimizer, ()):
            model.train().requires_grad_(True)
            model(Rows().batch(0, 0)).sum().backward()
            optimizer.step()
            model[1].running_mean = torch.ones(7)  # type: ignore[union-attr]
            random.random(), np.random.rand(), torch.rand(1)
        drawn.append((random.random(), np.random.rand(), float(torch.rand(1))))
        assert same(bits(model), before)
        assert trainable(model).keys() == parameters.keys()
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(module.training for module in model.modules())
        assert not optimizer.state
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert drawn == [(random.random(), np.random.rand(), float(torch.rand(1)))] * 2


def said(work: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    monkeypatch.setattr("raglift.training.loop.WORTH_SAYING", 0.0)
    stream = io.StringIO()
    run(work, display=Progress(stream=stream), **changes)
    return stream.getvalue()


def test_it_is_said_before_the_first_step_and_not_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = said(tmp_path, monkeypatch)
    line = f"{FEWEST} steps of "
    assert first.index("base on the development split") < first.index(line) < first.index("training the embedding")
    assert "of memory at most, of " in first
    assert line not in said(tmp_path, monkeypatch), "a resumed training was measured before"
    assert line not in said(tmp_path / "short", monkeypatch, steps=FEWEST - 1)
    assert line not in said(tmp_path / "off", monkeypatch, trying=False)


def test_a_quick_training_is_not_talked_about(tmp_path: Path) -> None:
    stream = io.StringIO()
    run(tmp_path, display=Progress(stream=stream))
    assert "steps of" not in stream.getvalue()


def test_a_training_that_does_not_fit_never_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: -(10**12))
    with pytest.raises(UserError, match="does not fit into memory"):
        run(tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_training_that_does_not_fit_names_the_keys_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: -(10**12))
    with pytest.raises(UserError) as caught:
        run(tmp_path, memory_fix="Take another writer.")
    assert caught.value.fix == "Take another writer."


def test_accumulation_is_in_the_steps_that_are_tried(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watch(Strategy):
        axis: ClassVar[Axis] = "anchor"

        def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
            seen.append(len(batch))
            return {}

    run(tmp_path, Watch(), accumulation=2)
    assert seen[:4] == [8, 7, 8, 7]
    assert len(seen) == 2 * (FEWEST + 2)


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_the_ranks_of_adalora_are_put_back(
    target: Target, tiny_llm: Path, tiny_embedding: Path, tmp_path: Path
) -> None:
    folder = tiny_llm if target == "llm" else tiny_embedding
    found = []
    for trying in (True, False):
        model = tasks.load(target, folder)
        strategies = [plugins.load("strategy", "lora")(tuner="adalora", rank=2)]
        settings = settings_of(target, steps=FEWEST, learning_rate=0.05)
        runtime = replace(RUNTIME, forecast=trying)
        work = job(tmp_path / str(trying), 5)
        fitted = fit(model, tasks.task(target, folder, model), strategies, settings, runtime, work)
        found.append((fitted.history, bits(fitted.model)))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


def test_lists_of_a_reranker_count_by_their_tokens() -> None:
    class OfLists(Lengths):
        def batch(self, epoch: int, index: int) -> Any:
            found = torch.ones(2, self.lengths[index])
            return Lists({"input_ids": found}, torch.zeros(2), torch.arange(2), torch.ones(2))

    assert find_longest(OfLists([3, 9, 5]), reach=3, count=1).places == (1,)
