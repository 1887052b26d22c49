"""A corpus that can be searched before anything is tuned."""

from __future__ import annotations

from dataclasses import dataclass

from raglift.index.bm25 import Bm25
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Searchable:
    """The chunks by vector and by word.

    Attributes:
        encoder: The base embedding model.
        store: The index that it made of the chunks.
        bm25: Over the same chunks.
    """

    encoder: Encoder
    store: FaissStore
    bm25: Bm25
