"""What a backend says about itself, and how it stands in for the model's forward pass in torch."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, Role
from raglift.models.onnx_graph import NoGraphError, write_graph

Forward = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.float32]]
"""Token ids and masks by name, each (texts, tokens), to vectors of unit length, (texts, dimension). Called by several
threads at once."""
_GRAPH = "passage.onnx"


class Backend(ABC):
    """A way to compute the vectors of passages, which may round otherwise than torch does.

    `PLUGIN` of a backend's file is an instance. The file imports its library inside of its methods: the config knows
    backends by name, whether or not they are installed.
    """

    name: str
    about: str
    """One sentence: what computes, in which numbers, what it is for."""
    modules: tuple[str, ...] = ()
    """What must be installed."""
    extra: str = ""
    """The extra of raglift that installs it."""

    def check(self, runtime: Runtime) -> None:
        """Refuse where the backend cannot run.

        Raises:
            UserError: It is not installed, or is not for the run's device.
        """
        missing = [name for name in self.modules if find_spec(name) is None]
        if missing:
            raise UserError(
                f"The encoding backend {self.name!r} is not installed.",
                f"There is no {' and no '.join(missing)}.",
                f"pip install 'raglift[{self.extra}]', or set index.backend to 'torch'.",
            )

    @abstractmethod
    def precision(self, runtime: Runtime) -> str:
        """What of the backend decides a vector's digits: vectors of another precision are never taken for its own."""

    @abstractmethod
    def open(self, model: SentenceTransformer, folder: Path, runtime: Runtime) -> Encoder:
        """An encoder of passages.

        Args:
            model: In float32; left as it is.
            folder: Of the model's graphs, which backends share: what an earlier call has written there is used again.

        Raises:
            UserError: The model is none that the backend can compute.
        """


class GraphBackend(Backend):
    """A backend on the processor that runs the model's ONNX graph."""

    def check(self, runtime: Runtime) -> None:
        super().check(runtime)
        if runtime.device.type != "cpu":
            raise UserError(
                f"The encoding backend {self.name!r} runs on the processor alone.",
                f"The run's device is {runtime.device.type!r}.",
                "Set index.backend to 'torch', or runtime.device to 'cpu'.",
            )

    def open(self, model: SentenceTransformer, folder: Path, runtime: Runtime) -> Encoder:
        try:
            graph = whole_file(folder / _GRAPH, lambda file: write_graph(model, "passage", file))
        except NoGraphError as error:
            raise UserError(
                f"The encoding backend {self.name!r} cannot compute this embedding model.",
                str(error),
                "Set index.backend to 'torch'.",
            ) from error
        return GraphEncoder(model, runtime, self.forward(graph, runtime))

    @abstractmethod
    def forward(self, graph: Path, runtime: Runtime) -> Forward:
        """What computes the graph; what it writes lies beside the graph."""


class GraphEncoder(Encoder):
    """An encoder that computes passages with a graph; texts are cut, sorted and batched as `Encoder` does it.

    Queries, which a model may treat otherwise than the graph of its passages does, are computed by torch in float32.

    Args:
        model: In float32.
    """

    def __init__(self, model: SentenceTransformer, runtime: Runtime, forward: Forward) -> None:
        in_float32 = replace(runtime, dtype=torch.float32)
        super().__init__(model, in_float32)
        self._torch = Encoder(model, in_float32)
        self._graph = forward

    def encode(
        self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        if role == "query":
            return self._torch.encode(texts, role, advance)
        return super().encode(texts, role, advance)

    def _forward(self, batch: dict[str, Any]) -> NDArray[np.float32]:
        return self._graph({name: value.numpy() for name, value in batch.items() if isinstance(value, torch.Tensor)})


def whole_file(file: Path, write: Callable[[Path], None]) -> Path:
    """A file in a folder of its own, written by `write` unless it is there: whole, or not at all.

    The folder is for what a large graph has beside it, its weights.
    """
    folder = file.with_suffix("")
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial / file.name)
        os.replace(partial, folder)
    return folder / file.name
