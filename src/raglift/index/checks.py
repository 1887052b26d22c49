"""What is refused before a store is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raglift.errors import UserError


def only_local(fs: Any) -> None:
    """Refuse a file system that FAISS cannot write to.

    Raises:
        UserError: It is not the local one.
    """
    if fs is not None and "file" not in (fs.protocol if isinstance(fs.protocol, tuple | list) else [fs.protocol]):
        raise UserError(
            f"The index cannot be kept on {fs.protocol}.",
            "FAISS reads and writes local files.",
            "Persist into a local folder and copy that.",
        )


def check_bounds(recall: float, memory_mb: int | None) -> None:
    """Refuse what no index can reach or fit.

    Raises:
        UserError: The recall is no share, or the memory is none.
    """
    if not 0 <= recall <= 1:
        raise UserError(f"recall is {recall}.", "It is a share.", "Give a number from 0 to 1.")
    if memory_mb is not None and memory_mb <= 0:
        raise UserError(
            f"memory_mb is {memory_mb}.", "No index fits.", "Give a number above 0, or None for any number."
        )


def check_model(path: Path, settings: dict[str, Any], fingerprint: str | None, dimension: int | None) -> None:
    """Refuse an index of another embedding model.

    Args:
        path: The version's folder.
        settings: What the store was made with.
        fingerprint: Of the model that will ask; None: any.
        dimension: Of its vectors; None: any.

    Raises:
        UserError: They differ.
    """
    held = settings["fingerprint"]
    wrong = ""
    if dimension is not None and dimension != settings["dimension"]:
        wrong = f"It holds vectors of {settings['dimension']}, the model makes vectors of {dimension}."
    elif fingerprint is not None and fingerprint != held:
        wrong = f"It was built with {held or 'a model that it does not name'}, and is asked with {fingerprint}."
    if wrong:
        raise UserError(
            f"The index in {path.parent} belongs to another embedding model.",
            wrong,
            "Use that model, or build the index anew with this one.",
        )


def check_not_legacy(path: Path) -> None:
    """Refuse the single file that LlamaIndex's own FAISS stores write where this one has a folder.

    Raises:
        UserError: It says how to read it.
    """
    if path.is_file():
        raise UserError(
            f"{path} was written by LlamaIndex's own FAISS store.",
            "raglift keeps an index in a folder.",
            f"Read it with FaissStore.from_llama_index({str(path.parent)!r}).",
        )
