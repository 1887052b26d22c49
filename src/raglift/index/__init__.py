"""The FAISS vector store behind LlamaIndex, BM25, and their fusion."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raglift.index.store import FaissStore as FaissStore
    from raglift.index.streaming import write_store as write_store

__all__ = ["FaissStore", "write_store"]

_MODULES = {"FaissStore": "raglift.index.store", "write_store": "raglift.index.streaming"}


def __getattr__(name: str) -> Any:
    """What the package offers, imported when it is first used: FAISS and LlamaIndex take seconds to load."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'raglift.index' has no attribute {name!r}")
