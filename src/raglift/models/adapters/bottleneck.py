"""Folders of bottleneck adapters: the adapter's weights alone, and what it is and belongs to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from raglift.artifacts import file_sha256, write_json
from raglift.errors import UserError
from raglift.models import bottleneck
from raglift.models.adapters import sparse
from raglift.models.find import revision_of
from raglift.models.sublayers import hidden_width, models_around
from raglift.training.parameters import block_list

WEIGHTS = "bottleneck.safetensors"
ATTACHED = "tuned"
"""The name under which a model that is loaded with an adapter holds it."""


class Base(BaseModel):
    """The model that an adapter belongs to.

    Attributes:
        kind: The model type, as transformers calls it.
        hidden: Width of its hidden states.
        blocks: How many it has.
        revision: The sha256 over its folder; None where it came from no folder, so that only its form can be compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    hidden: int
    blocks: int
    revision: str | None


class Record(BaseModel):
    """bottleneck.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    shape: bottleneck.Shape
    base: Base
    weights: str
    """The sha256 of the weights' file."""


class BottleneckFolder:
    """An adapter that `write` wrote; it cannot be merged, and acts beside the base's weights."""

    marker = "bottleneck.json"
    merges = False

    def attach(self, model: nn.Module, folder: Path) -> nn.Module:
        """The base with the adapter acting in it, and a reranker's head as it was tuned with it."""
        put(model, ATTACHED, folder)
        bottleneck.use(model, ATTACHED)
        return sparse.PLUGIN.attach(model, folder) if (folder / sparse.FILE).exists() else model


PLUGIN = BottleneckFolder()


def write(model: nn.Module, name: str, shape: bottleneck.Shape, folder: Path) -> None:
    """Write one adapter of a model into `folder`: bottleneck.safetensors in float32, then bottleneck.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().float().cpu().contiguous() for key, value in _weights(model, name).items()}
    save_file(weights, folder / WEIGHTS)
    record = Record(shape=shape, base=_base(model), weights=file_sha256(folder / WEIGHTS))
    write_json(folder / PLUGIN.marker, record.model_dump(mode="json"))


def put(model: nn.Module, name: str, folder: Path) -> None:
    """Put the adapter in `folder` into its base, on the model's device and in its precision, switched off.

    Raises:
        UserError: The folder is damaged or holds no such adapter, or it belongs to another base.
    """
    record = _read(folder)
    _check_base(model, record.base, folder)
    try:
        if file_sha256(folder / WEIGHTS) != record.weights:
            raise ValueError(f"{WEIGHTS} is not the file that {PLUGIN.marker} was written for")
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    try:
        bottleneck.insert(model, name, record.shape)
    except ValueError as error:
        raise _damaged(folder, str(error)) from error
    wanted = _weights(model, name)
    shapes, found = ({key: tuple(v.shape) for key, v in values.items()} for values in (wanted, weights))
    if shapes != found:
        bottleneck.remove(model, name)
        odd = sorted(key for key in shapes.keys() | found.keys() if shapes.get(key) != found.get(key))[0]
        why = f"{odd} has the shape {found.get(odd)} in the file, and {shapes.get(odd)} by its settings"
        raise _damaged(folder, why)
    first = next(value for value in model.parameters() if value.is_floating_point())
    for part in bottleneck.parts(model, name).values():
        part.requires_grad_(False)
    for key, parameter in wanted.items():
        parameter.data = weights[key].to(first.device, first.dtype)


def identity(folder: Path) -> str:
    """What tells the adapter in a folder from any other: a hash of its settings, base and weights.

    Raises:
        UserError: The folder is damaged.
    """
    return hashlib.sha256(_read(folder).model_dump_json().encode()).hexdigest()[:16]


def _weights(model: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """The adapter's parameters by block, place and role, such as "3.feed_forward.up.weight"."""
    parts = bottleneck.parts(model, name).items()
    return {f"{key}.{role}": value for key, part in parts for role, value in part.named_parameters()}


def _read(folder: Path) -> Record:
    try:
        return Record.model_validate_json((folder / PLUGIN.marker).read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(folder, str(error)) from error


def _base(model: nn.Module) -> Base:
    prefix, blocks = block_list(model)
    hidden, whole = hidden_width(model, prefix), models_around(model, prefix)[0]
    source = whole.name_or_path or ""
    revision = revision_of(Path(source)) if source and Path(source).is_dir() else None
    return Base(kind=whole.config.model_type, hidden=hidden, blocks=len(blocks), revision=revision)


def _check_base(model: nn.Module, wanted: Base, folder: Path) -> None:
    try:
        found = _base(model)
    except ValueError as error:
        raise UserError(f"The adapter in {folder} cannot be put into this model.", f"{error}") from error
    known = found if wanted.revision and found.revision else found.model_copy(update={"revision": wanted.revision})
    if known == wanted:
        return
    told = [
        f"its {field} is {getattr(known, field)!r}, the adapter's base has {getattr(wanted, field)!r}"
        for field in Base.model_fields
        if getattr(known, field) != getattr(wanted, field)
    ]
    raise UserError(
        f"The adapter in {folder} belongs to another base than this model.",
        "; ".join(told),
        "Load the model that it was trained on, or train it again on this one.",
    )


def _damaged(folder: Path, why: str) -> UserError:
    return UserError(
        f"The folder {folder} holds no sound bottleneck adapter.", why, "Write it again, or take an undamaged copy."
    )
