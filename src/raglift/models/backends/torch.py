"""torch: the model itself, in the run's number format, on whatever device the run has."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers import SentenceTransformer

from raglift.models.backends._base import Backend
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder


class Torch(Backend):
    """The model as training and questions have it."""

    name = "torch"
    about = "The model itself, in the run's number format; every model, every device."

    def precision(self, runtime: Runtime) -> str:
        return f"{runtime.dtype} {runtime.device.type}"

    def open(self, model: SentenceTransformer, folder: Path, runtime: Runtime) -> Encoder:
        return Encoder(model, runtime)


PLUGIN = Torch()
