"""The nodes of a store by row id; those of an opened store stay on disk until they are asked for."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.constants import DATA_KEY
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from llama_index.core.vector_stores.types import MetadataFilters
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index.filtering import Columns, Mask, restricts
from raglift.index.persistence import damaged

NODES_FILE = "nodes.jsonl"
METADATA_FILE = "metadata.jsonl"
ROWS_FILE = "rows.json"

Rows = NDArray[np.int64]


class NodeTable:
    """Row id -> node, in the order of the rows. A node that is given away is a copy: changing it changes nothing here.

    What every search needs (node ids, document ids) is always in memory, a node itself only once it was asked for.
    """

    def __init__(self) -> None:
        self._row_of: dict[str, int] = {}  # in the order of rows, as are the others
        self._id_of: dict[int, str] = {}
        self._document_of: dict[int, str | None] = {}
        self._rows_in: dict[str | None, dict[int, None]] = {}  # of a document, in order
        self._nodes: dict[int, BaseNode] = {}
        self._saved: _Saved | None = None
        self._columns: Columns | None = None
        self._every: Rows | None = None

    def __len__(self) -> int:
        return len(self._id_of)

    def row(self, node_id: str) -> int:
        """The row of a node id; KeyError where there is none."""
        return self._row_of[node_id]

    def node_id(self, row: int) -> str:
        """The id of a row's node; KeyError where there is none."""
        return self._id_of[row]

    def node(self, row: int) -> BaseNode:
        """A copy of a row's node; KeyError where there is none."""
        return _copy(self._held(row))

    def add(self, rows: Iterable[int], nodes: Iterable[BaseNode]) -> None:
        """Add nodes under rows that are higher than all here; their embeddings are left to the index."""
        for row, node in zip(rows, nodes, strict=True):
            self._row_of[node.node_id] = row
            self._id_of[row] = node.node_id
            self._file(row, node.ref_doc_id)
            self._nodes[row] = _copy(node)
        self._columns = self._every = None

    def _file(self, row: int, document: str | None) -> None:
        self._document_of[row] = document
        self._rows_in.setdefault(document, {})[row] = None

    def remove(self, rows: Iterable[int]) -> None:
        """Remove rows, all of which are here."""
        for row in rows:
            del self._row_of[self._id_of.pop(row)]
            document = self._document_of.pop(row)
            del self._rows_in[document][row]
            if not self._rows_in[document]:
                del self._rows_in[document]
            self._nodes.pop(row, None)
        self._columns = self._every = None

    def rows_of(self, node_ids: Iterable[str]) -> list[int]:
        """The rows of those of the node ids that are here, rising."""
        return sorted({self._row_of[node_id] for node_id in node_ids if node_id in self._row_of})

    def select(
        self,
        node_ids: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> Rows:
        """The rows of nodes that meet every condition that is not None, rising.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        parts: list[Rows] = []
        if filters is not None and restricts(filters):
            parts.append(self.rows[self._by_metadata(filters)])
        if node_ids is not None:
            parts.append(np.array(self.rows_of(node_ids), np.int64))
        if documents is not None:
            within = [row for each in set(documents) for row in self._rows_in.get(each, ())]
            parts.append(np.array(sorted(within), np.int64))
        return reduce(_both, parts) if parts else self.rows

    def _by_metadata(self, filters: MetadataFilters) -> Mask:
        if self._columns is None:
            self._columns = Columns([self._metadata(row) for row in self._id_of], list(self._document_of.values()))
        return self._columns.mask(filters)

    def _metadata(self, row: int) -> dict[str, Any]:
        if row in self._nodes or self._saved is None:
            return self._nodes[row].metadata
        return self._saved.about(row)

    def _held(self, row: int) -> BaseNode:
        if row not in self._nodes:
            if self._saved is None or row not in self._id_of:
                raise KeyError(row)
            self._nodes[row] = self._saved.node(row, self._id_of[row])
        return self._nodes[row]

    def copy(self) -> NodeTable:
        """The same nodes, to be changed apart; what both have on disk they share."""
        table = NodeTable()
        table._row_of, table._id_of = dict(self._row_of), dict(self._id_of)
        for row, document in self._document_of.items():
            table._file(row, document)
        table._nodes, table._saved = dict(self._nodes), self._saved  # neither ever changes a node that it holds
        return table

    def write(self, folder: Path) -> None:
        """Write a line of JSON a node, one of its metadata (a filter reads no more), and the rows with their ids.

        Raises:
            UserError: A node holds what JSON does not have.
        """
        with (folder / NODES_FILE).open("wb") as nodes, (folder / METADATA_FILE).open("wb") as metadata:
            for row in self._id_of:
                node, about = self._written(row)
                nodes.write(node)
                metadata.write(about)
        columns = {
            "rows": list(self._id_of),
            "nodes": list(self._id_of.values()),
            "documents": list(self._document_of.values()),
        }
        (folder / ROWS_FILE).write_text(json.dumps(columns, separators=(",", ":")), encoding="ascii")

    def _written(self, row: int) -> tuple[bytes, bytes]:
        if row not in self._nodes and self._saved is not None:
            return self._saved.nodes.line(row), self._saved.metadata.line(row)
        try:
            node = doc_to_json(self._nodes[row])
            return _line(node), _line(node[DATA_KEY].get("metadata") or {})
        except (TypeError, ValueError, RecursionError) as error:
            raise _unwritable(self._nodes[row], error) from error

    @classmethod
    def read(cls, folder: Path) -> NodeTable:
        """What `write` wrote."""
        columns = json.loads((folder / ROWS_FILE).read_text("utf-8"))
        table = cls()
        rows: list[int] = columns["rows"]
        table._id_of = dict(zip(rows, columns["nodes"], strict=True))
        table._row_of = dict(zip(columns["nodes"], rows, strict=True))
        for row, document in zip(rows, columns["documents"], strict=True):
            table._file(row, document)
        table._saved = _Saved(_Lines(folder / NODES_FILE, rows), _Lines(folder / METADATA_FILE, rows))
        return table

    @property
    def rows(self) -> Rows:
        """Every row, rising."""
        if self._every is None:
            self._every = np.fromiter(self._id_of, np.int64, len(self._id_of))
        return self._every


@dataclass(frozen=True, slots=True)
class _Saved:
    """What an opened store has on disk of its nodes."""

    nodes: _Lines
    metadata: _Lines

    def node(self, row: int, node_id: str) -> BaseNode:
        """A row's node, whose id is known.

        Raises:
            UserError: Its line holds another, or none.
        """
        try:
            node = json_to_doc(json.loads(self.nodes.line(row)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self.nodes.path, f"Row {row} is no node: {type(error).__name__}: {error}") from error
        if node.node_id != node_id:
            raise damaged(self.nodes.path, f"Row {row} holds node {node.node_id!r} in place of {node_id!r}.")
        return node

    def about(self, row: int) -> dict[str, Any]:
        """A row's metadata.

        Raises:
            UserError: Its line holds none.
        """
        try:
            metadata = json.loads(self.metadata.line(row))
        except ValueError as error:
            raise damaged(self.metadata.path, f"Row {row}: {error}") from error
        if not isinstance(metadata, dict):
            raise damaged(self.metadata.path, f"Row {row} is no metadata.")
        return metadata


class _Lines:
    """The lines of a file, by row; the file stays open, so that a later version does not take it away."""

    def __init__(self, path: Path, rows: Sequence[int]) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        ends = np.flatnonzero(np.frombuffer(self._data, np.uint8) == ord("\n")) + 1
        if len(ends) != len(rows):
            raise ValueError(f"{path} has {len(ends)} lines for {len(rows)} rows")
        self.path = path
        self._rows = np.array(rows, dtype=np.int64)
        self._ends = np.array([0, *ends], dtype=np.int64)

    def line(self, row: int) -> bytes:
        place = int(np.searchsorted(self._rows, row))
        return bytes(self._data[int(self._ends[place]) : int(self._ends[place + 1])])


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


def _both(rows: Rows, others: Rows) -> Rows:
    return np.intersect1d(rows, others, assume_unique=True)


def _copy(node: BaseNode) -> BaseNode:
    """A copy whose text, metadata and relationships can be changed apart, without the embedding."""
    own = {"embedding": None, "metadata": dict(node.metadata), "relationships": dict(node.relationships)}
    return node.model_copy(update=own)
