"""Looks at the machine and the installation: what is there, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from raglift.errors import UserError

_LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "llama-index-core",
    "faiss-cpu",
    "ir-measures",
    "numpy",
    "scipy",
    "pydantic",
    "PyYAML",
    "rich",
    "psutil",
)
_FREE_GIGABYTES = 2.0  # the demo's artifacts, and its models in float32 with the optimizer's state, fit in this


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `fix` says what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def checks(workspace: Path) -> list[Check]:
    """Every check, in the order that a person would mend things; none of them raises.

    Args:
        workspace: The folder for artifacts, whose disk is looked at; need not exist.
    """
    found = [_python(), _version("raglift"), *(_version(name) for name in _libraries() if name != "torch")]
    for name, check in (("torch", _torch), ("threads", _threads), ("dtype", _dtype), ("memory", _memory)):
        found.append(_guarded(name, check))
    found.append(_guarded("disk", lambda: _disk(workspace)))
    return [*found, *_models()]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ImportError as error:
        library = (error.name or "torch").partition(".")[0]
        return Check(name, False, f"cannot import {library}: {error}", f"pip install {library}")
    except Exception as error:  # a broken library must not take the other checks down
        return Check(
            name, False, f"{type(error).__name__}: {error}", "Reinstall raglift in a fresh virtual environment."
        )


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    return Check("python", sys.version_info >= (3, 11), found, "Install Python 3.11 or newer.")


def _libraries() -> list[str]:
    """What the installed raglift requires, without its extras; a fixed list where it runs from a checkout."""
    try:
        required = metadata.requires("raglift") or []
    except metadata.PackageNotFoundError:
        return list(_LIBRARIES)
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required if "extra ==" not in line]


def _version(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _torch() -> Check:
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    if torch.cuda.is_available():
        return Check("torch", True, f"{torch.__version__}, {build}, {torch.cuda.get_device_name(0)}")
    if torch.version.cuda:
        return Check("torch", False, f"{torch.__version__}, {build}, no usable GPU", "Check the driver: nvidia-smi")
    return Check("torch", True, f"{torch.__version__}, {build}")


def _threads() -> Check:
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = torch.get_num_threads()
    fix = f"Set runtime.threads to {allowed}: more threads than processors slow each other down."
    return Check("threads", used <= allowed, f"{used} of torch, {allowed} processors allowed", fix)


def _dtype() -> Check:
    from raglift.models.device import probe_dtype

    probe = probe_dtype()
    rates = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in sorted(probe.gflops.items()))
    return Check("dtype", True, f"{probe.dtype} is the fastest ({rates})")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    return Check(
        "memory", memory.available / 1e9 >= _FREE_GIGABYTES, found, "Close other programs, or lower batch_size."
    )


def _disk(workspace: Path) -> Check:
    folder = workspace.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    fix = "Free some space, or choose a `workspace` on another disk."
    return Check("disk", free >= _FREE_GIGABYTES, f"{free:.1f} GB free at {folder}", fix)


def _models() -> list[Check]:
    try:
        from raglift.models.find import KNOWN, find_model
    except ImportError as error:
        return [Check("models", False, f"cannot look for models: {error}", f"pip install {error.name or 'raglift'}")]
    found = []
    for name in KNOWN:
        try:
            model = find_model(name)
        except UserError as error:
            said = " ".join(part for part in (error.what, error.why) if part)
            found.append(Check(f"model {name}", False, said, error.fix))
        else:
            found.append(Check(f"model {name}", True, f"{model.path} (revision {str(model.revision)[:12]})"))
    return found
