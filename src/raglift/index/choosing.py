"""Which kind of index: the one that was named, or one that suits the number of vectors and the memory."""

from __future__ import annotations

from functools import cache

from raglift import plugins
from raglift.errors import UserError
from raglift.index.kinds._base import ApproximateKind, IndexKind

AUTO = "auto"
EXACT = 100_000
"""Vectors up to which "auto" searches exactly."""


def check_kind(name: str) -> None:
    """Refuse a name that is neither "auto" nor a kind.

    Raises:
        UserError: It names the nearest one.
    """
    known = [AUTO, *plugins.names("index kind")]
    if name not in known:
        raise UserError(f"There is no index kind called {name!r}.", plugins.nearest(name, known))


def choose(asked: str, count: int, dimension: int, memory_mb: int | None = None) -> IndexKind:
    """The kind for `count` vectors; flat where there are too few to train another.

    Args:
        asked: A kind, or "auto": exact search up to `EXACT` vectors where it fits, else the first kind in the order of
            preference that fits; where none fits, the smallest.
        memory_mb: Megabytes that the part which every search reads may take; None: any number.
    """
    kinds = _kinds()
    flat = kinds["flat"]
    if asked != AUTO:
        return kinds[asked] if _enough(kinds[asked], count) else flat
    trained = sorted((kind for kind in kinds.values() if _enough(kind, count)), key=lambda kind: kind.preference)
    fitting = [
        kind for kind in trained if memory_mb is None or count * kind.bytes_each(dimension) <= memory_mb * 1_000_000
    ]
    if not fitting:
        return min(trained, key=lambda kind: kind.bytes_each(dimension))
    if count <= EXACT:
        return fitting[0]
    return next((kind for kind in fitting if kind is not flat), flat)


@cache
def _kinds() -> dict[str, IndexKind]:
    return {name: plugins.load("index kind", name) for name in plugins.names("index kind")}


def _enough(kind: IndexKind, count: int) -> bool:
    return not isinstance(kind, ApproximateKind) or count >= kind.least
