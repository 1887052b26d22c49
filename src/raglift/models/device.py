"""Where and in what precision models run: measured once a machine, not believed."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import torch

from raglift.artifacts import write_json
from raglift.errors import UserError

_SHAPE = (512, 576, 1536)
"""Rows, inner and outer width of the probe's matrix product: a small transformer's feed-forward layer."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where models run, and how: what never changes a result but for rounding.

    Attributes:
        dtype: Precision of frozen weights and of autocast.
        threads: Of the processor.
        batch_tokens: Padded tokens that are encoded at once outside of training.
        checkpoint_seconds: Time between checkpoints of a training.
        trackers: Where trainings are logged, by accelerate's names.
        logs: The folder of trackers that write files; None: no training is logged.
        forecast: Whether two steps are tried before a training begins.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int
    batch_tokens: int = 2048
    checkpoint_seconds: float = 30.0
    trackers: tuple[str, ...] = ()
    logs: Path | None = None
    forecast: bool = True


@dataclass(frozen=True, slots=True)
class DtypeProbe:
    """What `probe_dtype` found: the fastest dtype by name, and measured GFLOP/s of each."""

    dtype: str
    gflops: dict[str, float]


def probe_dtype(device: str = "cpu", repeats: int = 12) -> DtypeProbe:
    """Time a feed-forward-sized matrix product in float32 and bfloat16 (about 0.2 s).

    bfloat16 is several times faster on processors with AMX or AVX-512-bf16 and on GPUs, and far slower elsewhere, so
    it must win by a third before it is chosen.
    """
    rows, inner, outer = _SHAPE
    gflops = {}
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        left = torch.ones(rows, inner, dtype=dtype, device=device)
        right = torch.ones(inner, outer, dtype=dtype, device=device)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            (left @ right).sum().item()
            times.append(time.perf_counter() - start)
        gflops[name] = round(2 * rows * inner * outer / sorted(times)[repeats // 4] / 1e9, 1)
    faster = gflops["bfloat16"] > 1.33 * gflops["float32"]
    return DtypeProbe("bfloat16" if faster else "float32", gflops)


def pick_device(name: str) -> torch.device:
    """`auto` is the first GPU there is, else the processor.

    Raises:
        UserError: The device that is named is not there.
    """
    if name != "auto":
        if (name == "cuda" and not torch.cuda.is_available()) or (
            name == "mps" and not torch.backends.mps.is_available()
        ):
            raise UserError(
                f"runtime.device is {name!r}, but torch sees no such device.",
                f"torch {torch.__version__} runs here on the processor.",
                "Leave runtime.device at 'auto', or install a build of torch for the device (docs/install.md).",
            )
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve(settings: Any, workspace: Path) -> Runtime:
    """The run's device, dtype and threads.

    The probe's answer is kept in the workspace, so that a resumed run uses the precision that it began with.

    Args:
        settings: The config's `runtime` section.
        workspace: The folder of the artifacts.
    """
    device = pick_device(settings.device)
    threads = os.cpu_count() or 1 if settings.threads == "auto" else settings.threads
    threads = min(threads, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else threads
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    keep_freed_memory()
    dtype = _fastest_dtype(device, threads, workspace) if settings.dtype == "auto" else settings.dtype
    # A processor is fastest while a batch stays in its caches, a GPU once all of its units have work.
    batch_tokens = settings.batch_tokens
    if batch_tokens == "auto":
        batch_tokens = 2048 if device.type == "cpu" else 65536
    return Runtime(
        device,
        getattr(torch, dtype),
        threads,
        batch_tokens,
        settings.checkpoint_seconds,
        tuple(settings.trackers),
        workspace / "logs",
        settings.forecast,
    )


def _fastest_dtype(device: torch.device, threads: int, workspace: Path) -> str:
    machine = f"{platform.processor() or platform.machine()}/{device.type}/torch {torch.__version__}/{threads}"
    file = workspace / "probe.json"
    try:
        known: dict[str, str] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    if machine not in known:
        known[machine] = probe_dtype(device.type).dtype
        write_json(file, known)
    return known[machine]


def keep_freed_memory() -> None:
    """Let the C library keep what torch frees on the processor, instead of asking the system for it batch by batch.

    glibc gives every large tensor back and takes new, zeroed pages for the next: that alone made a large matrix
    product twice as slow. Does nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    # glibc before 2.35 takes at most 32 MiB
    mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 1 << 25)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def give_back_memory() -> None:
    """Give the system what this process, or its part of a GPU, holds without using it.

    For between two stages: what `keep_freed_memory` has kept for one is of sizes that the next has no use for.
    """
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # not glibc
        return
