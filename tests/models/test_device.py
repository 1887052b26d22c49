"""Device, precision and threads of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import faiss
import pytest
import torch

from raglift.config import RuntimeConfig
from raglift.models import device
from raglift.models.device import DtypeProbe, Runtime, pick_device, probe_dtype, resolve
from raglift.training.memory import resident


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before, searching = torch.get_num_threads(), faiss.omp_get_max_threads()
    yield
    torch.set_num_threads(before)
    faiss.omp_set_num_threads(searching)


def probing(dtype: str, calls: list[str]) -> object:
    def probe(name: str = "cpu", repeats: int = 12) -> DtypeProbe:
        calls.append(name)
        return DtypeProbe(dtype, {})

    return probe


def test_the_probe_measures_both_and_asks_for_a_clear_win() -> None:
    found = probe_dtype(repeats=4)
    assert set(found.gflops) == {"float32", "bfloat16"}
    assert min(found.gflops.values()) > 0
    assert (found.dtype == "bfloat16") == (found.gflops["bfloat16"] > 1.33 * found.gflops["float32"])


def test_the_probe_runs_once_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(device, "probe_dtype", probing("bfloat16", calls))
    settings = RuntimeConfig(device="cpu", threads=1)
    first = resolve(settings, tmp_path)
    monkeypatch.setattr(device, "probe_dtype", probing("float32", calls))
    logged = {"trackers": ("tensorboard",), "logs": tmp_path / "logs"}
    assert resolve(settings, tmp_path) == first == Runtime(torch.device("cpu"), torch.bfloat16, 1, **logged)
    assert calls == ["cpu"]
    assert first.dtype == torch.bfloat16


def test_a_damaged_probe_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(device, "probe_dtype", probing("float32", calls))
    (tmp_path / "probe.json").write_text("{not json", encoding="utf-8")
    assert resolve(RuntimeConfig(device="cpu", threads=1), tmp_path).dtype == torch.float32
    assert list(json.loads((tmp_path / "probe.json").read_text("utf-8")).values()) == ["float32"]


def test_a_named_dtype_is_not_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(device, "probe_dtype", probing("float32", calls))
    found = resolve(RuntimeConfig(device="cpu", threads=1, dtype="bfloat16"), tmp_path)
    assert (found.dtype, calls, list(tmp_path.iterdir())) == (torch.bfloat16, [], [])
    plain = resolve(RuntimeConfig(device="cpu", threads=1, dtype="float32"), tmp_path)
    assert plain.dtype == torch.float32


def test_threads_are_set_and_never_more_than_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    settings = RuntimeConfig(device="cpu", dtype="float32")
    assert resolve(settings, tmp_path).threads == 3
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (3, 3)
    assert resolve(settings.model_copy(update={"threads": 2}), tmp_path).threads == 2


def test_auto_prefers_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="of glibc on Linux")
def test_what_is_freed_can_be_given_back() -> None:
    """Between tensors that stay, where the C library would not trim it of itself."""
    device.keep_freed_memory()
    tensors = [torch.ones(4 * 2**20, dtype=torch.uint8) for _ in range(100)]
    held = resident()
    kept = tensors[1::2]
    del tensors
    assert resident() > held - 100 * 2**20
    device.give_back_memory()
    assert resident() < held - 150 * 2**20
    assert all(int(tensor.sum()) == 4 * 2**20 for tensor in kept)
