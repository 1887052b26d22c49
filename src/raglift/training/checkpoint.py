"""Checkpoints that are whole or do not exist: one safetensors file a step and its sha256."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from raglift.artifacts import file_sha256, write_atomic

_KEEP = 2


@dataclass
class Progress:
    """Where training stands: everything that the next step depends on, and what has been seen so far.

    `step` steps are done. `best` are the trainable weights that scored best on the development split, found at
    `best_step` with `best_score`; step 0 is the base. `history` has one entry a scoring. `strategies` is what they
    keep beside the weights, by their place in the list. `states` are the trainable weights at each scoring but the
    first, by step, where a strategy wants them kept.
    """

    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    strategies: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_score: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)


def _flat(progress: Progress) -> dict[str, Tensor]:
    tensors = {f"weights/{name}": tensor for name, tensor in progress.weights.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in progress.best.items()}
    tensors |= {f"strategies/{name}": tensor for name, tensor in progress.strategies.items()}
    for step, kept in progress.states.items():
        tensors |= {f"states/{step}/{name}": tensor for name, tensor in kept.items()}
    for name, state in progress.optimizer.items():
        tensors |= {f"optimizer/{key}/{name}": tensor for key, tensor in state.items()}
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def save(folder: Path, progress: Progress) -> None:
    """Write `progress` as the newest checkpoint and forget all but the last two.

    A checkpoint of a later step can only be one that was passed over as damaged: it is forgotten too, so that it never
    pushes a sound one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        key: getattr(progress, key) for key in ("step", "best_step", "best_score", "loss_sum", "loss_count", "history")
    }
    path = folder / f"step-{progress.step:08d}.safetensors"
    temporary = path.with_suffix(".tmp")
    save_file(_flat(progress), temporary, metadata={"progress": json.dumps(plain)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    digest = file_sha256(temporary)
    os.replace(temporary, path)
    write_atomic(path.with_suffix(".sha256"), digest.encode())
    names = sorted(found.name for found in folder.glob("step-*.safetensors"))
    newest = names.index(path.name) + 1
    for name in [*names[: max(0, newest - _KEEP)], *names[newest:]]:
        (folder / name).with_suffix(".sha256").unlink(missing_ok=True)
        (folder / name).unlink()


def load_newest(folder: Path, warn: Callable[[str], None]) -> Progress | None:
    """The newest checkpoint that is sound; damaged ones are passed over with a word."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            if path.with_suffix(".sha256").read_bytes() == file_sha256(path).encode():
                return _read(path)
        except OSError:
            pass
        warn(f"The checkpoint {path} is damaged or incomplete; an older one is taken.")
    return None


def _read(path: Path) -> Progress:
    with safe_open(path, framework="pt") as file:
        progress = Progress(**json.loads(file.metadata()["progress"]))
        for key in file.keys():  # noqa: SIM118 (not a mapping)
            kind, _, name = key.partition("/")
            if kind == "optimizer":
                entry, _, name = name.partition("/")
                progress.optimizer.setdefault(name, {})[entry] = file.get_tensor(key)
            elif kind == "states":
                step, _, name = name.partition("/")
                progress.states.setdefault(int(step), {})[name] = file.get_tensor(key)
            else:
                getattr(progress, kind)[name] = file.get_tensor(key)
    return progress


def optimizer_state(optimizer: torch.optim.Optimizer, names: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The optimizer's moments by parameter name."""
    return {name: dict(optimizer.state[parameter]) for name, parameter in names.items() if parameter in optimizer.state}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[str, Tensor], state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put saved moments back."""
    for name, entries in state.items():
        parameter = names[name]
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in entries.items()}
