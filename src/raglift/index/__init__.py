"""The FAISS vector store behind LlamaIndex, BM25, and their fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raglift.index.store import FaissStore as FaissStore

__all__ = ["FaissStore"]


def __getattr__(name: str) -> Any:
    """`FaissStore`, imported when it is first used: FAISS and LlamaIndex take seconds to load."""
    if name == "FaissStore":
        from raglift.index.store import FaissStore

        return FaissStore
    raise AttributeError(f"module 'raglift.index' has no attribute {name!r}")
