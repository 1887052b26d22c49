"""One file a document format; the names of the readers of whole sources stay reachable from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raglift.corpus.documents import document as document
    from raglift.corpus.documents import read_documents as read_documents
    from raglift.corpus.judged import HumanQuestion as HumanQuestion
    from raglift.corpus.judged import read_beir as read_beir
    from raglift.corpus.judged import read_questions as read_questions

_HOME = {
    "document": "documents",
    "read_documents": "documents",
    "HumanQuestion": "judged",
    "read_beir": "judged",
    "read_questions": "judged",
}

__all__ = ["HumanQuestion", "document", "read_beir", "read_documents", "read_questions"]


def __getattr__(name: str) -> Any:
    """Imported when first used: the process that parses files starts from here too and needs none of them."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"raglift.corpus.{_HOME[name]}"), name)
    raise AttributeError(f"module 'raglift.corpus.readers' has no attribute {name!r}")
