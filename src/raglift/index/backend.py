"""Which backend encodes the passages of an index, kept with it: an update of the index goes on with the same one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from raglift import plugins
from raglift.artifacts import write_json
from raglift.index.agreement import Agreement
from raglift.index.encoding import Source
from raglift.index.vector_cache import VectorCache
from raglift.models.backends._base import Backend
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder

FILE = "backend.json"
AUTO, TORCH = "auto", "torch"
GRAPHS = "graphs"
"""Folder, among what a stage keeps for going on, of the model as backends have it."""
KIND = "encoding backend"


@dataclass(frozen=True, slots=True)
class Passages:
    """What the passages of one embedding model may be encoded with.

    Attributes:
        encoder: The model in torch, in the run's precision.
        full: Loads the model in float32.
        caches: The cache of the vectors that have a precision (`Backend.precision`).
        label: What the model is called where progress is shown.
    """

    encoder: Encoder
    full: Callable[[], SentenceTransformer]
    caches: Callable[[str], VectorCache]
    runtime: Runtime
    label: str

    def cache(self, backend: Backend) -> VectorCache:
        """The cache of a backend's vectors."""
        return self.caches(backend.precision(self.runtime))


@dataclass(frozen=True, slots=True)
class Measured:
    """What one backend did on a sample of the passages.

    Attributes:
        texts_per_second: None where it could not be tried, or was named.
        agreement: With torch in float32; None where it could not be tried.
        refused: Why it is not taken; empty where it may be.
    """

    backend: str
    texts_per_second: float | None
    agreement: Agreement | None
    refused: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend of an index.

    Attributes:
        why: In a few words.
        sample: Number of passages on which backends were compared.
        measured: What came of it; empty where nothing was compared.
    """

    backend: str
    why: str
    sample: int = 0
    measured: tuple[Measured, ...] = ()


IN_TORCH = Choice(TORCH, "named")


def backend_named(name: str) -> Backend:
    """The backend of a name.

    Raises:
        UserError: There is none.
    """
    backend: Backend = plugins.load(KIND, name)
    return backend


def check_backend(name: str, runtime: Runtime) -> None:
    """Refuse, before a run begins, a backend that cannot run here; "auto" always can.

    Raises:
        UserError: It is not installed, or not for the run's device.
    """
    if name != AUTO:
        backend_named(name).check(runtime)


def read_choice(folder: Path) -> Choice:
    """The choice in the folder of a finished index; torch where the index is older than choices are."""
    if not (folder / FILE).exists():
        return IN_TORCH
    found = json.loads((folder / FILE).read_text("utf-8"))
    rows = [row | {"agreement": row["agreement"] and Agreement(**row["agreement"])} for row in found.pop("measured")]
    return Choice(**found, measured=tuple(Measured(**row) for row in rows))


def write_choice(folder: Path, choice: Choice) -> None:
    """Write it into an index's folder."""
    write_json(folder / FILE, asdict(choice))


def source_of(choice: Choice, texts: Sequence[str], passages: Passages, folder: Path) -> Source:
    """What gives texts their vectors by the backend of a choice, which is opened only if one of them is not known.

    Args:
        folder: For the model as the backend has it; what an earlier call has written there is used again.

    Raises:
        UserError: The backend is not installed, or cannot compute the model.
    """
    backend, encoder = backend_named(choice.backend), passages.encoder
    cache = passages.cache(backend)
    if choice.backend != TORCH and cache.unknown(texts):
        backend.check(passages.runtime)
        encoder = backend.open(passages.full(), folder, passages.runtime)
    return Source(encoder, cache, passages.label)
