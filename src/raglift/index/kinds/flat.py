"""Exact search over all vectors."""

from __future__ import annotations

from raglift.index.kinds._base import IndexKind


class Flat(IndexKind):
    """The vectors themselves, which every store holds; nothing is built."""

    name = "flat"
    about = "Compares with every vector: exact, and quick enough for a hundred thousand of them."
    preference = 0

    def bytes_each(self, dimension: int) -> float:
        return 4.0 * dimension


PLUGIN = Flat()
