"""A FAISS vector store for LlamaIndex: cosine similarities, ids that are never reused, deletes and filters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from numpy.typing import NDArray

from raglift.errors import UserError

INDEX_FILE = "index.faiss"
NODES_FILE = "nodes.jsonl"


class FaissStore(BasePydanticVectorStore):
    """Inner product over L2-normalised vectors, so that a similarity is a cosine in [-1, 1].

    LlamaIndex's own FAISS stores cannot delete or filter, or number their rows anew after a delete and then return
    the wrong node; here a row's id grows with every add and is never given twice.

    Example:
        >>> store = FaissStore(dimension=384)
        >>> index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    dimension: int
    _index: Any = PrivateAttr()
    _nodes: dict[int, BaseNode] = PrivateAttr(default_factory=dict)
    _rows: dict[str, int] = PrivateAttr(default_factory=dict)
    _next: int = PrivateAttr(default=0)

    def __init__(self, dimension: int, **kwargs: Any) -> None:
        super().__init__(dimension=dimension, **kwargs)
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises the component."""
        return "FaissStore"

    @property
    def client(self) -> Any:
        """The FAISS index."""
        return self._index

    def __bool__(self) -> bool:
        """True also while it is empty: LlamaIndex's `StorageContext` asks `vector_store or SimpleVectorStore()`."""
        return True

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes that carry their embeddings; a node that is already here is replaced."""
        nodes = list(nodes)
        if not nodes:
            return []
        vectors = np.array([node.get_embedding() for node in nodes], dtype=np.float32).reshape(len(nodes), -1)
        return self.add_vectors(nodes, vectors)

    def add_vectors(self, nodes: Sequence[BaseNode], vectors: NDArray[np.float32], unit: bool = True) -> list[str]:
        """`add` with the vectors as one array of shape (len(nodes), dimension).

        Args:
            unit: Make them of unit length first. Without it they rank by their inner product with the query.

        Raises:
            UserError: The vectors have another dimension.
        """
        if not nodes:
            return []
        self._check(vectors, len(nodes))
        latest = {node.node_id: position for position, node in enumerate(nodes)}
        self.delete_nodes([node_id for node_id in latest if node_id in self._rows])
        kept = sorted(latest.values())
        rows = np.ascontiguousarray(vectors[kept], dtype=np.float32)
        if unit:
            faiss.normalize_L2(rows)
        ids = np.arange(self._next, self._next + len(kept), dtype=np.int64)
        self._index.add_with_ids(rows, ids)
        self._next += len(kept)
        for row, position in zip(ids.tolist(), kept, strict=True):
            self._nodes[row] = nodes[position]
            self._rows[nodes[position].node_id] = row
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete every node of a document."""
        self.delete_nodes([node.node_id for node in self._nodes.values() if node.ref_doc_id == ref_doc_id])

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by metadata filter, or by both together."""
        rows = self._selected(node_ids, None, filters)
        for row in rows:
            del self._rows[self._nodes.pop(row).node_id]
        if rows:
            self._index.remove_ids(np.array(rows, dtype=np.int64))

    def clear(self) -> None:
        """Delete everything; ids go on from where they were."""
        self.delete_nodes(list(self._rows))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """The nodes with these ids and this metadata, in the order they were added."""
        return [self._nodes[row] for row in self._selected(node_ids, None, filters)]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to the query's embedding, best first.

        Raises:
            UserError: The query has no embedding, or asks for a mode that a vector index alone does not have.
        """
        if query.query_embedding is None or query.mode != VectorStoreQueryMode.DEFAULT:
            raise UserError(
                f"This index cannot answer a query in mode {query.mode.value!r}.",
                "It compares embeddings; the query has none or wants something else.",
            )
        vector = np.array([query.query_embedding], dtype=np.float32)
        # LlamaIndex's retriever passes an empty list of node ids where it means any node.
        node_ids, doc_ids = query.node_ids or None, query.doc_ids or None
        limited = node_ids is not None or doc_ids is not None or query.filters is not None
        rows = self._selected(node_ids, doc_ids, query.filters) if limited else None
        found, scores = self.search(vector, query.similarity_top_k, rows)
        hits = [(self._nodes[row], score) for row, score in zip(found[0], scores[0], strict=True) if row >= 0]
        return VectorStoreQueryResult(
            nodes=[node for node, _ in hits],
            similarities=[float(score) for _, score in hits],
            ids=[node.node_id for node, _ in hits],
        )

    def search(
        self, vectors: NDArray[np.float32], depth: int, rows: Sequence[int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row ids and cosines of the `depth` nearest rows to each vector, both of shape (queries, at most depth).

        Args:
            rows: Look among these only. A row id of -1 stands where there is nothing more.

        Raises:
            UserError: The vectors have another dimension.
        """
        self._check(vectors, len(vectors))
        depth = min(depth, len(self) if rows is None else len(rows))
        if depth == 0:
            return np.zeros((len(vectors), 0), np.int64), np.zeros((len(vectors), 0), np.float32)
        unit = np.ascontiguousarray(vectors, dtype=np.float32)
        unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        options = {}
        if rows is not None:
            selector = faiss.IDSelectorBatch(np.array(rows, dtype=np.int64))
            options = {"params": faiss.SearchParameters(sel=selector)}  # type: ignore[call-arg]
        scores, found = self._index.search(unit, depth, **options)
        return found, np.clip(scores, -1.0, 1.0)

    def vectors(self, node_ids: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of these nodes, shape (len(node_ids), dimension)."""
        rows = np.array([self._rows[node_id] for node_id in node_ids], dtype=np.int64)
        found: NDArray[np.float32] = self._index.reconstruct_batch(rows)
        return found

    def node(self, row: int) -> BaseNode:
        """The node of a row id."""
        return self._nodes[row]

    def _check(self, vectors: NDArray[np.float32], count: int) -> None:
        if vectors.shape != (count, self.dimension):
            raise UserError(
                f"The vectors have shape {vectors.shape}, the index holds vectors of {self.dimension}.",
                "They come from another embedding model.",
                "Build the index anew with this model.",
            )

    def _selected(
        self, node_ids: Sequence[str] | None, doc_ids: Sequence[str] | None, filters: MetadataFilters | None
    ) -> list[int]:
        keep = build_metadata_filter_fn(lambda node_id: self._nodes[self._rows[node_id]].metadata, filters)
        wanted = None if node_ids is None else set(node_ids)
        documents = None if doc_ids is None else set(doc_ids)
        return [
            row
            for row, node in self._nodes.items()
            if (wanted is None or node.node_id in wanted)
            and (documents is None or node.ref_doc_id in documents)
            and keep(node.node_id)
        ]

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Write the index, its nodes and the next row id into the folder `persist_path`."""
        folder = Path(persist_path)
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self._index, str(folder / INDEX_FILE))
        with (folder / NODES_FILE).open("w", encoding="utf-8", newline="\n") as file:
            for row, node in self._nodes.items():
                value = node.to_dict() | {"embedding": None}
                file.write(json.dumps({"row": row, "node": value}, ensure_ascii=False, sort_keys=True) + "\n")
            file.write(json.dumps({"next": self._next}) + "\n")

    @classmethod
    def open(cls, folder: Path) -> FaissStore:
        """The store that `persist` wrote."""
        index = faiss.read_index(str(folder / INDEX_FILE))
        store = cls(dimension=index.d)
        store._index = index
        with (folder / NODES_FILE).open(encoding="utf-8") as file:
            for line in file:
                entry = json.loads(line)
                if "next" in entry:
                    store._next = entry["next"]
                    continue
                node = TextNode.from_dict(entry["node"])
                store._nodes[entry["row"]] = node
                store._rows[node.node_id] = entry["row"]
                store._next = max(store._next, entry["row"] + 1)
        return store
