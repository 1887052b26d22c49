"""Reading and writing FAISS's files: limited, and mapped into memory where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss

from raglift.errors import UserError

_NO_TABLE = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
"""Of use to product quantisation by L2 distance alone, and larger than the file."""
_SLACK = 1_000_000
"""Bytes beside a file's size that a vector in it may take."""


@contextmanager
def _limited(path: Path) -> Iterator[None]:
    """No vector that FAISS reads is longer than its file, whatever the file says of its length."""
    longest, loops = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    size = path.stat().st_size + _SLACK
    faiss.set_deserialization_vector_byte_limit(size)
    faiss.set_deserialization_loop_limit(size)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(longest)
        faiss.set_deserialization_loop_limit(loops)


def read_index(path: Path, mapped: bool = False) -> Any:
    """A FAISS index.

    Args:
        mapped: Leave it on disk, and in memory what is used of it. Such an index must not be changed (FAISS would end
            the process): see `owned`.

    Raises:
        UserError: The file is no index, or is cut off.
        MemoryError: It does not fit.
    """
    try:
        with _limited(path):
            return faiss.read_index(str(path), _NO_TABLE | (faiss.IO_FLAG_MMAP_IFC if mapped else 0))
    except RuntimeError as error:
        if "bad_alloc" in str(error):
            raise MemoryError(f"{path} does not fit into memory") from error
        raise UserError(
            f"{path} cannot be read as a FAISS index.", _first_line(error), "Put the whole file back, or build it anew."
        ) from error


def write_index(index: Any, path: Path) -> None:
    """Write a FAISS index."""
    faiss.write_index(index, str(path))


def owned(index: Any) -> Any:
    """A copy of a mapped index in memory, which may be changed."""
    return faiss.deserialize_index(faiss.serialize_index(index))


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
