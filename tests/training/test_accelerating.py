"""Trackers, and trainings of several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.training import accelerating
from raglift.training.loop import Task, fit
from raglift.training.schedule import Settings
from tests.tasks import RUNTIME, job


class Rows:
    """Batches of one to three rows."""

    def __len__(self) -> int:
        return 6

    def batch(self, epoch: int, index: int) -> Tensor:
        return torch.randn(1 + index % 3, 3, generator=torch.Generator().manual_seed(10 * epoch + index))


def square(model: nn.Module, batch: Tensor) -> Tensor:
    return (Tensor(model(batch)) - 1).square().mean()


def trained(work: Path, trackers: tuple[str, ...] = (), **settings: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    values = iter(range(99))
    task = Task("llm", Rows(), square, lambda _: float(next(values)), weight=len)
    runtime = replace(RUNTIME, trackers=trackers, logs=work / "logs")
    return fit(nn.Linear(3, 1), task, (), Settings(6, 0.05, **settings), runtime, job(work / "out")).model.state_dict()


@pytest.mark.slow
def test_two_processes_train_as_one_that_accumulates_their_batches(tmp_path: Path) -> None:
    expected = trained(tmp_path / "one", accumulation=2)
    root = Path(__file__).parents[2]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launch, "-m", "tests.training.test_accelerating", str(tmp_path)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        check=True,
        timeout=300,
    )
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_tensorboard_gets_every_step_and_scoring(tmp_path: Path) -> None:
    trained(tmp_path, ("tensorboard",), evaluations=2)
    events = EventAccumulator(str(tmp_path / "logs" / "llm-out")).Reload()  # type: ignore[no-untyped-call]
    assert [event.step for event in events.Scalars("loss")] == list(range(6))
    assert [event.value for event in events.Scalars("development split")] == [1.0, 2.0]
    assert events.Scalars("learning rate")[0].value == pytest.approx(0.05)


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    trained(tmp_path)
    assert not (tmp_path / "logs").exists()


def test_a_tracker_that_is_not_installed_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(accelerating.PACKAGES, "trackio", "no_such_package")
    with pytest.raises(UserError, match="trackio") as caught:
        trained(tmp_path, ("trackio",))
    assert "pip install no_such_package" in str(caught.value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    state = trained(work)
    save_file(state, work / f"{torch.distributed.get_rank()}.safetensors")
