"""FAISS's file of exact vectors, written block by block: memory holds none of it."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType

import faiss
import numpy as np
from numpy.typing import NDArray

_COUNT_AT = 8
"""Where FAISS's header has the number of vectors: after the kind of index and the dimension."""


class FlatWriter:
    """Writes the file that `faiss.write_index` writes of an `IndexFlatIP` with the same vectors, byte for byte.

    The header is FAISS's own, of an empty index; the two numbers in it that count are set at the end.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._path, self._dimension, self.count = path, dimension, 0

    def __enter__(self) -> FlatWriter:
        self._file = self._path.open("wb")
        self._file.write(faiss.serialize_index(faiss.IndexFlatIP(self._dimension)).tobytes())
        self._starts = self._file.tell()
        return self

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Write rows, (count, dimension)."""
        self._file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self.count += len(vectors)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file as file:
            for place, number in ((_COUNT_AT, self.count), (self._starts - 8, self.count * self._dimension)):
                file.seek(place)
                file.write(struct.pack("<q", number))
