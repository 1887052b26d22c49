"""The nodes of a store by row id; those of an opened store stay on disk until they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters
from numpy.typing import NDArray

from raglift.index.filtering import Columns, Mask, restricts
from raglift.index.node_files import NodeLines, NodeWriter, SavedNodes, lines_of, read_columns

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
        self._saved: SavedNodes | None = None
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
        """Write what `read` reads.

        Raises:
            UserError: A node holds what JSON does not have.
        """
        with NodeWriter(folder) as writer:
            for row, node_id in self._id_of.items():
                writer.add(row, node_id, self._document_of[row], self._written(row))

    def _written(self, row: int) -> NodeLines:
        if row not in self._nodes and self._saved is not None:
            return self._saved.lines(row)
        return lines_of(self._nodes[row])

    @classmethod
    def read(cls, folder: Path) -> NodeTable:
        """What `write` wrote."""
        columns = read_columns(folder)
        table = cls()
        rows: list[int] = columns["rows"]
        table._id_of = dict(zip(rows, columns["nodes"], strict=True))
        table._row_of = dict(zip(columns["nodes"], rows, strict=True))
        for row, document in zip(rows, columns["documents"], strict=True):
            table._file(row, document)
        table._saved = SavedNodes(folder, rows)
        return table

    @property
    def rows(self) -> Rows:
        """Every row, rising."""
        if self._every is None:
            self._every = np.fromiter(self._id_of, np.int64, len(self._id_of))
        return self._every


class NodesById(Mapping[str, BaseNode]):
    """Node id -> a copy of the node."""

    def __init__(self, table: NodeTable) -> None:
        self._table = table

    def __getitem__(self, node_id: str) -> BaseNode:
        return self._table.node(self._table.row(node_id))

    def passing(self, filters: MetadataFilters) -> set[str]:
        """The ids of the nodes whose metadata passes, which is read without the nodes.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        return {self._table.node_id(row) for row in self._table.select(filters=filters).tolist()}

    def __iter__(self) -> Iterator[str]:
        return iter([self._table.node_id(row) for row in self._table.rows.tolist()])

    def __len__(self) -> int:
        return len(self._table)


def _both(rows: Rows, others: Rows) -> Rows:
    return np.intersect1d(rows, others, assume_unique=True)


def _copy(node: BaseNode) -> BaseNode:
    """A copy whose text, metadata and relationships can be changed apart, without the embedding."""
    own = {"embedding": None, "metadata": dict(node.metadata), "relationships": dict(node.relationships)}
    return node.model_copy(update=own)
