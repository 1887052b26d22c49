"""What memory this process uses, has used at most, and may still have: of the machine, its control group, its GPU."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""proc(5): writing it to clear_refs begins the peak of resident memory anew."""
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""Version of control groups -> files of the limit and of what is used, and what memory.stat calls reclaimable."""
_EXHAUSTED = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc", re.IGNORECASE
)


class Meter:
    """The memory in which a training on `device` lives: a GPU's own, or the processor's (for every other device too).

    Everything is in bytes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU's memory."""
        return self._device is not None

    def used(self) -> int:
        """What this process uses now."""
        return resident() if self._device is None else torch.cuda.memory_allocated(self._device)

    def room(self) -> int:
        """What this process may use in all, given what others use now."""
        if self._device is None:
            return resident() + available()
        return torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device)

    def begin(self) -> None:
        """Watch for a peak from now on."""
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            with contextlib.suppress(OSError):  # not Linux, or not permitted: then the peak is that of the whole life
                _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> int:
        """The most that was used since `begin`, or since the process began where that cannot be told."""
        return highest_resident() if self._device is None else torch.cuda.max_memory_allocated(self._device)


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def highest_resident() -> int:
    """The most bytes of this process that were in memory at once."""
    with contextlib.suppress(OSError):
        if found := _proc("VmHWM"):
            return found
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _proc(entry: str) -> int | None:
    found = re.search(rf"^{entry}:\s+(\d+) kB", _STATUS.read_text("ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def available() -> int:
    """Bytes that this process can still have without swapping, within its control groups: an equal part of what there
    is, where several train together on this machine."""
    free = int(psutil.virtual_memory().available)
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min([free, *_left_in_groups(_CGROUPS, _OWN_CGROUP)])) // together


def _left_in_groups(root: Path, own: Path) -> Iterator[int]:
    """What is left of each limit on the groups that the process is in, outermost ones included.

    Args:
        root: Where the control groups are mounted.
        own: The file that names the process's groups, a line a hierarchy: number, controllers, path.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text("utf-8").splitlines()]
    except OSError:  # not Linux
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        version = 1 if "memory" in controllers.split(",") else 2
        if controllers and version == 2:
            continue
        top = root / "memory" if version == 1 else root
        inner = top / path.lstrip("/")
        for group in (inner, *(parent for parent in inner.parents if parent.is_relative_to(top))):
            with contextlib.suppress(OSError, ValueError):  # no such group here, or it has no limit ("max")
                yield _left(group, *_FILES[version])


def _left(group: Path, limit: str, used: str, reclaimable: str) -> int:
    """A group's limit less what is used and could not be had back from the cache of files.

    Raises:
        ValueError: It has no limit.
    """
    most = int((group / limit).read_text("ascii"))
    counts = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    return most - int((group / used).read_text("ascii")) + int(counts.get(reclaimable, 0))


@contextlib.contextmanager
def refused_beyond(more: int) -> Iterator[None]:
    """Have Linux refuse the process more than so many further bytes, which raises an error that can be told.

    Without it the kernel promises more than it has, and ends the process when that is used.
    """
    try:
        import resource

        data = _proc("VmData")
        before = resource.getrlimit(resource.RLIMIT_DATA)
    except (ImportError, OSError):  # not Linux
        data = None
    if data is None:
        yield
        return
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([data + more, *limits]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or a GPU's, is used up."""
    kinds: tuple[Any, ...] = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and bool(_EXHAUSTED.search(str(error))))


def amount(size: float) -> str:
    """Such as `350 MB` or `5.4 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
