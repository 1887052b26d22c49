"""Hidden states of token runs, a row a token, in memory or in a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raglift.artifacts import disk_errors
from raglift.training.token_runs import Run

IN_MEMORY = 1 << 30
"""Bytes up to which the states are held in memory; more lie in a file, of which memory holds what it has room for."""
_OF_DISK = 0.5
"""Share of the free disk that the file may take."""


class HiddenStates:
    """What a part of a model gives for runs of tokens.

    Args:
        tokens: Of all runs that are to be added.
        width: Of a hidden state.
        dtype: In which they are kept.
        folder: Where a file may lie. It has no name once it is open, so that none is left behind by a process that is
            killed.
        in_memory: Bytes above which there is a file.
    """

    def __init__(self, tokens: int, width: int, dtype: torch.dtype, folder: Path, in_memory: int = IN_MEMORY) -> None:
        self._starts: dict[Run, int] = {}
        self._used = 1  # the first row stands for padding
        row = width * dtype.itemsize
        if (tokens + 1) * row <= in_memory:
            self._table = torch.zeros(tokens + 1, width, dtype=dtype)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            room = int(_OF_DISK * shutil.disk_usage(folder).free) // row
            self._table = _in_file(folder, max(1, min(tokens + 1, room)), width, dtype)

    def __deepcopy__(self, memo: Any) -> HiddenStates:
        """Itself: what it holds does not change, and copies of a model need no copy of it."""
        return self

    def __contains__(self, run: Run) -> bool:
        return run in self._starts

    def __len__(self) -> int:
        """Runs that it holds."""
        return len(self._starts)

    def add(self, run: Run, states: Tensor) -> bool:
        """Keep the states of a run, (tokens, width); False where there is no room left."""
        end = self._used + len(run)
        if end > len(self._table):
            return False
        self._table[self._used : end] = states
        self._starts[run] = self._used
        self._used = end
        return True

    def rows(self, run: Run) -> range:
        """Where the run's states lie, for `gather`; row 0 holds zeros, for padding."""
        start = self._starts[run]
        return range(start, start + len(run))

    def gather(self, rows: Tensor) -> Tensor:
        """The states in `rows`, of any shape, with their width as a last dimension; a copy."""
        return self._table.index_select(0, rows.flatten()).view(*rows.shape, -1)


def _in_file(folder: Path, rows: int, width: int, dtype: torch.dtype) -> Tensor:
    with disk_errors(folder):
        handle, name = tempfile.mkstemp(prefix="hidden-states-", dir=folder)
        try:
            size = rows * width * dtype.itemsize
            if hasattr(os, "posix_fallocate"):  # a full disk must fail here, and not where the map is written to
                os.posix_fallocate(handle, 0, size)
            else:
                os.truncate(handle, size)
            return torch.from_file(name, shared=True, size=rows * width, dtype=dtype).view(rows, width)
        finally:
            os.close(handle)
            Path(name).unlink()
