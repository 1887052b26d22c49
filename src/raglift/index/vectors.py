"""Vectors under row ids that are never given twice, searched exactly or by way of an approximate index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raglift import plugins
from raglift.errors import UserError
from raglift.index.approximation import Approximation, Built, Positions, Vectors, fill, rescored, tuned
from raglift.index.choosing import AUTO, choose
from raglift.index.faiss_files import owned, read_index, write_index
from raglift.index.kinds._base import ApproximateKind, selecting, selector_of
from raglift.index.unit_length import within_unit_length

VECTORS_FILE = "vectors.faiss"
APPROXIMATE_FILE = "approximate.faiss"
POSITIONS_FILE = "positions.npy"
_GROWN = 4
"""An approximate index that holds this many times what it was built from is built anew."""
_DEAD = 0.25
"""Share of deleted rows from which on they are taken out."""
FEW = 10_000
"""A search among at most so many rows, or a tenth of all, is exact whatever the kind."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of index is wanted.

    Attributes:
        kind: A kind, or "auto".
        memory_mb: Most megabytes for the part of the index that every search reads; None: any number.
        recall: Recall at 10 that an approximate index is to reach.
        seed: Of the training and of the queries that measure.
    """

    kind: str = AUTO
    memory_mb: int | None = None
    recall: float = 0.95
    seed: int = 0


class VectorTable:
    """Rows of one dimension. Positions, which FAISS counts, are an inner matter; a row id stays what it is.

    A deleted row keeps its position, which no search may find, until a quarter of them are deleted: no kind of index
    has to be able to take a vector out.
    """

    def __init__(self, dimension: int, plan: Plan) -> None:
        self.dimension = dimension
        self.plan = plan
        self.next_row = 0
        self.bounded = True
        """Whether every row ever added was at most of length 1: cosines leave [-1, 1] by rounding alone."""
        self._exact = faiss.IndexFlatIP(dimension)
        self._approximation: Approximation | None = None
        self._rows = np.zeros(0, np.int64)  # position -> row id, rising
        self._alive = np.zeros(0, np.bool_)
        self._mapped = False

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def index(self) -> Any:
        """The FAISS index that is searched."""
        return self._exact if self._approximation is None else self._approximation.index

    @property
    def built(self) -> Built | None:
        """What was built; None: search is exact."""
        return None if self._approximation is None else self._approximation.built

    def add(self, vectors: Vectors) -> Positions:
        """Add rows, (count, dimension); their new ids."""
        self._own()
        self.bounded = self.bounded and within_unit_length(vectors)
        self._exact.add(vectors)
        if self._approximation is not None:
            self._approximation.index.add(vectors)
        rows = np.arange(self.next_row, self.next_row + len(vectors), dtype=np.int64)
        self.next_row += len(vectors)
        self._rows = np.concatenate([self._rows, rows])
        self._alive = np.concatenate([self._alive, np.ones(len(rows), np.bool_)])
        return rows

    def remove(self, rows: Positions) -> None:
        """Delete rows, all of which are here."""
        self._alive[self._positions(rows)] = False
        if np.count_nonzero(~self._alive) > _DEAD * len(self._alive):
            self._compact()

    @property
    def rows(self) -> Positions:
        """Every row that is not deleted, rising."""
        return self._rows[self._alive]

    def vectors(self, rows: Positions) -> Vectors:
        """Their vectors, (rows, dimension)."""
        return self._view()[self._positions(rows)]

    def search(self, queries: Vectors, depth: int, among: Positions | None = None) -> tuple[Positions, Vectors]:
        """Row ids and inner products of the `depth` nearest rows, both of shape (queries, at most depth), best first.

        Args:
            queries: (queries, dimension), of unit length.
            among: Row ids that may be found; None: all.
        """
        allowed = self._allowed(among)
        count = int(np.count_nonzero(allowed))
        depth = min(depth, count)
        if depth == 0:
            return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
        whole = count == len(allowed)
        selector = None if whole else selector_of(allowed)
        few = among is not None and count <= max(FEW, len(allowed) // 10)
        if self._approximation is None or few or depth * 4 > count:
            positions, scores = self._nearest(queries, depth, selector)
        else:
            positions, scores = self._near(self._approximation, queries, depth, selector)
        return self._rows[positions], np.clip(scores, -1.0, 1.0) if self.bounded else scores

    def _nearest(self, queries: Vectors, depth: int, selector: Any) -> tuple[Positions, Vectors]:
        options = {} if selector is None else {"params": selecting(selector)}
        scores, positions = self._exact.search(queries, depth, **options)
        return positions, scores

    def _near(
        self, approximation: Approximation, queries: Vectors, depth: int, selector: Any
    ) -> tuple[Positions, Vectors]:
        found = approximation.candidates(queries, depth, selector)
        positions, scores = rescored(self._view(), queries, found, depth)
        short = np.flatnonzero(positions[:, -1] < 0)  # a filter left too few of what the index looked at
        if len(short):
            positions[short], scores[short] = self._nearest(queries[short], depth, selector)
        return positions, scores

    def _allowed(self, among: Positions | None) -> NDArray[np.bool_]:
        if among is None:
            return self._alive
        positions = np.minimum(self._positions(among), max(0, len(self._rows) - 1))
        here = positions[self._rows[positions] == among] if len(self._rows) else positions[:0]
        allowed = np.zeros(len(self._alive), np.bool_)
        allowed[here] = True
        return allowed & self._alive

    def _positions(self, rows: Positions) -> Positions:
        return np.searchsorted(self._rows, rows)

    def _view(self) -> Vectors:
        """All vectors by position, without a copy."""
        size = self._exact.ntotal * self.dimension
        if not size:
            return np.zeros((0, self.dimension), np.float32)
        view: Vectors = faiss.rev_swig_ptr(self._exact.get_xb(), size).reshape(-1, self.dimension)
        return view

    def wanted(self, count: int | None = None) -> ApproximateKind | None:
        """The kind of index that is missing or has been outgrown, or None; `count` vectors, or those that are here."""
        count = len(self) if count is None else count
        if self.built is not None and count < _GROWN * self.built.count:
            return None
        kind = choose(self.plan.kind, count, self.dimension, self.plan.memory_mb)
        return kind if isinstance(kind, ApproximateKind) else None

    def build(self, kind: ApproximateKind, queries: Vectors | None, advance: Callable[[int], None]) -> None:
        """Build an approximate index and measure its recall; what was searched before serves until it is done."""
        self._compact()
        vectors = self._view()
        filled = fill(kind, vectors, self.plan.seed, advance)
        self._approximation = tuned(filled, vectors, self._exact, self.plan.recall, queries, self.plan.seed)

    def _compact(self) -> None:
        """Take deleted rows out; an approximate index goes with them and is built anew when it is next wanted."""
        if self._alive.all():
            return
        self._own()
        self._exact.remove_ids(selector_of(~self._alive))
        self._rows = self._rows[self._alive]
        self._alive = np.ones(len(self._rows), np.bool_)
        self._approximation = None

    def _own(self) -> None:
        if not self._mapped:
            return
        self._exact = owned(self._exact)
        if self._approximation is not None:
            self._approximation = replace(self._approximation, index=owned(self._approximation.index))
        self._mapped = False

    def copy(self) -> VectorTable:
        """The same rows, in memory, to be changed apart."""
        table = VectorTable(self.dimension, self.plan)
        table.next_row, table.bounded, table._exact = self.next_row, self.bounded, owned(self._exact)
        if self._approximation is not None:
            table._approximation = replace(self._approximation, index=owned(self._approximation.index))
        table._rows, table._alive = self._rows.copy(), self._alive.copy()
        return table

    def write(self, folder: Path) -> None:
        """Write FAISS's files into a folder. Deleted rows are taken out first, unless that would cost the index."""
        if self._approximation is None:
            self._compact()
        write_index(self._exact, folder / VECTORS_FILE)
        if self._approximation is not None:
            write_index(self._approximation.index, folder / APPROXIMATE_FILE)
        np.save(folder / POSITIONS_FILE, np.where(self._alive, self._rows, ~self._rows), allow_pickle=False)

    @classmethod
    def read(cls, folder: Path, plan: Plan, next_row: int, built: Built | None, mapped: bool) -> VectorTable:
        """What `write` wrote.

        Args:
            mapped: Leave the vectors on disk.

        Raises:
            UserError: The files do not belong together.
        """
        exact = read_index(folder / VECTORS_FILE, mapped)
        table = cls(exact.d, plan)
        rows: Positions = np.load(folder / POSITIONS_FILE, allow_pickle=False)  # a deleted one as its complement
        table._alive = rows >= 0
        table._rows, table.next_row = np.where(rows >= 0, rows, ~rows), next_row
        table._exact, table._mapped = exact, mapped
        if built is not None:
            kind: ApproximateKind = plugins.load("index kind", built.kind)
            table._approximation = Approximation(kind, read_index(folder / APPROXIMATE_FILE, mapped), built)
        _check_rows(table._rows, next_row)
        if not isinstance(exact, faiss.IndexFlat) or {exact.ntotal, table.index.ntotal} != {len(table._rows)}:
            raise UserError(
                f"The files in {folder} do not belong together.", "They hold different numbers of vectors.", _ANEW
            )
        return table


def _check_rows(rows: Positions, next_row: int) -> None:
    """Refuse row ids that do not rise, or a next one that would be given twice.

    Raises:
        ValueError: They are none that `write` wrote.
    """
    if rows.ndim != 1 or rows.dtype != np.int64 or np.any(np.diff(rows, prepend=-1) <= 0):
        raise ValueError("row ids do not rise")
    if type(next_row) is not int or next_row < (rows[-1] + 1 if len(rows) else 0):
        raise ValueError(f"the next row id is {next_row!r}, which is not above all that were given")


_ANEW = "Build the index anew."
