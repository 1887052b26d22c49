"""accelerate, as the loop uses it: where this process runs, mixed precision, other processes, trackers.

The model is not wrapped: gradients are averaged over the processes after the backward pass, so that every strategy and
every objective sees the model that it was given, however often it calls it in a step. Frozen parts cost nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from raglift.errors import UserError
from raglift.models.device import Runtime

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}
"""Tracker -> the package that it needs."""


def processes() -> int:
    """How many processes train together, as their launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


Log = Callable[[int, Mapping[str, float]], None]


def accelerator(runtime: Runtime, name: str, settings: Mapping[str, Any]) -> Accelerator:
    """An accelerator for one training, its trackers begun.

    Args:
        name: Of the training, as the trackers show it.
        settings: What the trackers show beside it.

    Raises:
        UserError: A tracker's package is not installed.
    """
    # One process trains more than once, and not always in one precision; accelerate keeps the first one otherwise.
    AcceleratorState._reset_state()
    mixed = {torch.float32: "no", torch.bfloat16: "bf16"}[runtime.dtype]
    for tracker in runtime.trackers:
        if find_spec(PACKAGES[tracker]) is None:
            raise UserError(
                f"The tracker {tracker!r} is not installed.",
                f"runtime.trackers names it, and it needs the package {PACKAGES[tracker]}.",
                f"pip install {PACKAGES[tracker]}, or take it out of runtime.trackers.",
            )
    logging = bool(runtime.trackers) and runtime.logs is not None
    made = Accelerator(
        cpu=runtime.device.type == "cpu",
        mixed_precision=mixed,
        log_with=list(runtime.trackers) if logging else None,
        project_dir=str(_folder(runtime.logs)) if logging and runtime.logs else None,
    )
    if logging:
        plain = {key: value for key, value in settings.items() if isinstance(value, int | float | str | bool)}
        made.init_trackers(name, config=plain)
    return made


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def average_gradients(accelerator: Accelerator, parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients over the processes; each has weighted its own by its share of the step."""
    if accelerator.num_processes == 1:
        return
    for parameter in parameters:
        if parameter.requires_grad:
            grad = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            parameter.grad = accelerator.reduce(grad, "sum")


def total(accelerator: Accelerator, value: float) -> float:
    """The sum of a number over the processes."""
    if accelerator.num_processes == 1:
        return value
    summed: Tensor = accelerator.reduce(torch.tensor(value, device=accelerator.device), "sum")
    return float(summed)
