"""Vectors of queries that were asked before: a question that comes again costs no forward pass."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raglift.models.encoder import Encoder, Role

KEPT = 4096
"""Queries that are remembered: at 384 dimensions 6 MB."""


class QueryMemory:
    """An encoder's vectors of queries, the last ones asked; passages go through to the encoder.

    Any number of threads may ask.

    Args:
        kept: Most queries that are remembered.
    """

    def __init__(self, encoder: Encoder, kept: int = KEPT) -> None:
        self._encoder, self._kept = encoder, kept
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Encoder, int]:
        return self._encoder, self._kept

    def __setstate__(self, state: tuple[Encoder, int]) -> None:
        QueryMemory.__init__(self, *state)  # a copy remembers nothing

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), in the order given; the unknown are encoded together."""
        if role != "query":
            return self._encoder.encode(texts, role)
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        unknown = [text for text in dict.fromkeys(texts) if text not in found]
        if unknown:
            vectors = self._encoder.encode(unknown, role)
            found |= {text: vector.copy() for text, vector in zip(unknown, vectors, strict=True)}  # not all held by one
        with self._lock:
            for text in texts:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return np.stack([found[text] for text in texts]) if texts else self._encoder.encode([], role)
