"""Memory is read from the kernel, and from the control groups that bound the process."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from raglift.models.device import give_back_memory
from raglift.training import memory
from raglift.training.memory import Meter, amount, available, highest_resident, refused_beyond, resident

MB = 10**6


def group(folder: Path, limit: str, used: int, reclaimable: int, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = memory._FILES[version]
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{names[2]} {reclaimable}\n")


def left(root: Path, lines: str) -> list[int]:
    own = root.parent / "cgroup"
    own.write_text(lines)
    return sorted(memory._left_in_groups(root, own))


def test_the_second_version_of_control_groups(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(root / "outer", "1000", 500, 50, 2)
    group(root / "outer" / "inner", "400", 300, 20, 2)
    group(root / "outer" / "free", "max", 300, 20, 2)
    assert left(root, "0::/outer/inner\n") == [120, 550]
    assert left(root, "0::/outer/free\n") == [550]
    assert left(root, "0::/gone/inside/a/container\n") == []
    group(root, "90", 20, 3, 2)
    assert left(root, "0::/gone/inside/a/container\n") == [73]
    assert left(root, "0::/\n") == [73]


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(root / "memory" / "job", "1000", 500, 50, 1)
    group(root / "memory", "9223372036854771712", 600, 0, 1)
    assert left(root, "9:name=systemd:/\n4:cpu,memory:/job\n0::/\nnonsense\n") == [550, 9223372036854771712 - 600]


def test_without_control_groups_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "none")
    assert available() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_the_smallest_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group(tmp_path / "fs", "500", 200, 0, 2)
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    assert available() == 300
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert available() == 100, "each of three processes has its part"
    (tmp_path / "fs" / "memory.current").write_text("700\n")
    assert available() == 0


def test_a_peak_is_that_since_it_began() -> None:
    meter = Meter(torch.device("cpu"))
    torch.ones(400 * MB, dtype=torch.uint8)
    give_back_memory()  # another test of this process may have had the C library keep what is freed
    meter.begin()
    before = meter.used()
    assert meter.peak() < before + 100 * MB, "what was there before does not count"
    torch.ones(200 * MB, dtype=torch.uint8)
    assert meter.peak() > before + 190 * MB
    assert meter.room() == pytest.approx(resident() + available(), rel=0.2)
    assert not meter.on_gpu


def test_a_peak_of_the_whole_life_where_the_kernel_tells_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no folder" / "none")
    Meter(torch.device("cpu")).begin()
    assert highest_resident() > 50 * MB


def test_what_there_is_not_is_refused_and_the_limit_goes_again() -> None:
    with (
        pytest.raises(RuntimeError, match="allocate") as caught,
        refused_beyond(100 * MB),
    ):
        torch.ones(2000 * MB, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)
    assert not memory.is_out_of_memory(ValueError("out of memory"))
    assert len(torch.ones(2000 * MB, dtype=torch.uint8)) == 2000 * MB


def test_without_proc_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    with refused_beyond(0):
        assert len(torch.ones(200 * MB, dtype=torch.uint8)) == 200 * MB


def test_amounts() -> None:
    assert [amount(350_000_000), amount(5_370_000_000)] == ["350 MB", "5.4 GB"]
