"""The files of a store's nodes: a line of JSON a node, one of its metadata, and the rows with their ids."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from llama_index.core.constants import DATA_KEY
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index.persistence import damaged

NODES_FILE = "nodes.jsonl"
METADATA_FILE = "metadata.jsonl"
ROWS_FILE = "rows.json"
_BLOCK = 1 << 20


class NodeLines(NamedTuple):
    """A node as JSON, and its metadata alone: a filter reads no more."""

    node: bytes
    metadata: bytes


def lines_of(node: BaseNode) -> NodeLines:
    """A node's lines.

    Raises:
        UserError: It holds what JSON does not have.
    """
    try:
        value = doc_to_json(node)
        return NodeLines(_line(value), _line(value[DATA_KEY].get("metadata") or {}))
    except (TypeError, ValueError, RecursionError) as error:
        raise _unwritable(node, error) from error


class NodeWriter:
    """Writes nodes one by one; of a node that is written, memory keeps its row and its ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[int] = []
        self._ids: list[str] = []
        self._documents: list[str | None] = []

    def __enter__(self) -> NodeWriter:
        with ExitStack() as stack:
            self._nodes = stack.enter_context((self._folder / NODES_FILE).open("wb"))
            self._metadata = stack.enter_context((self._folder / METADATA_FILE).open("wb"))
            self._open = stack.pop_all()
        return self

    def add(self, row: int, node_id: str, document: str | None, lines: NodeLines) -> None:
        """Write a node under a row that is higher than all before."""
        self._nodes.write(lines.node)
        self._metadata.write(lines.metadata)
        self._rows.append(row)
        self._ids.append(node_id)
        self._documents.append(document)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()
        if kind is None:
            columns = {"rows": self._rows, "nodes": self._ids, "documents": self._documents}
            (self._folder / ROWS_FILE).write_text(json.dumps(columns, separators=(",", ":")), encoding="ascii")


def read_columns(folder: Path) -> dict[str, list[Any]]:
    """The rows with their ids: "rows", "nodes" and "documents", all of one length."""
    columns: dict[str, list[Any]] = json.loads((folder / ROWS_FILE).read_text("utf-8"))
    return columns


class SavedNodes:
    """What an opened store has on disk of its nodes."""

    def __init__(self, folder: Path, rows: Sequence[int]) -> None:
        self._nodes = _Lines(folder / NODES_FILE, rows)
        self._metadata = _Lines(folder / METADATA_FILE, rows)

    def lines(self, row: int) -> NodeLines:
        """A row's lines, as they stand."""
        return NodeLines(self._nodes.line(row), self._metadata.line(row))

    def node(self, row: int, node_id: str) -> BaseNode:
        """A row's node, whose id is known.

        Raises:
            UserError: Its line holds another, or none.
        """
        try:
            node = json_to_doc(json.loads(self._nodes.line(row)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self._nodes.path, f"Row {row} is no node: {type(error).__name__}: {error}") from error
        if node.node_id != node_id:
            raise damaged(self._nodes.path, f"Row {row} holds node {node.node_id!r} in place of {node_id!r}.")
        return node

    def about(self, row: int) -> dict[str, Any]:
        """A row's metadata.

        Raises:
            UserError: Its line holds none.
        """
        try:
            metadata = json.loads(self._metadata.line(row))
        except ValueError as error:
            raise damaged(self._metadata.path, f"Row {row}: {error}") from error
        if not isinstance(metadata, dict):
            raise damaged(self._metadata.path, f"Row {row} is no metadata.")
        return metadata


class _Lines:
    """The lines of a file, by row; the file stays open, so that a later version does not take it away."""

    def __init__(self, path: Path, rows: Sequence[int]) -> None:
        with path.open("rb") as file:
            ends = _line_ends(file)
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        if len(ends) != len(rows):
            raise ValueError(f"{path} has {len(ends)} lines for {len(rows)} rows")
        self.path = path
        self._rows = np.array(rows, dtype=np.int64)
        self._ends = np.concatenate([np.zeros(1, np.int64), ends])

    def line(self, row: int) -> bytes:
        place = int(np.searchsorted(self._rows, row))
        return bytes(self._data[int(self._ends[place]) : int(self._ends[place + 1])])


def _line_ends(file: BinaryIO) -> NDArray[np.int64]:
    """Where each line ends, block by block: a file may be larger than memory."""
    found, start = [np.zeros(0, np.int64)], 0
    while block := file.read(_BLOCK):
        found.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (start + 1))
        start += len(block)
    return np.concatenate(found)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass") + b"\n"


def _unwritable(node: BaseNode, error: Exception) -> UserError:
    fix = "Give text, numbers, lists or dictionaries of them: a date as its isoformat()."
    for key, value in node.metadata.items():
        try:
            _line(value)
        except (TypeError, ValueError, RecursionError) as why:
            return UserError(
                f"The metadata {key!r} of node {node.node_id!r} cannot be kept on disk.", f"As JSON: {why}", fix
            )
    return UserError(f"The node {node.node_id!r} cannot be kept on disk.", f"As JSON: {error}", fix)
