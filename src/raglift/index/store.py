"""A FAISS vector store for LlamaIndex: cosine similarities, ids that are never reused, deletes and filters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index.approximation import Built
from raglift.index.checks import check_bounds, check_model, check_not_legacy, only_local
from raglift.index.choosing import AUTO, check_kind
from raglift.index.filtering import restricts
from raglift.index.mmr import mmr_order
from raglift.index.nodes import NodesById, NodeTable
from raglift.index.persistence import Version, open_version, write_version
from raglift.index.unit_length import finite, to_unit_length
from raglift.index.untrusted import examine
from raglift.index.vectors import Plan, VectorTable

PERSISTED = "{namespace}__vector_store.json"
"""What LlamaIndex's `StorageContext` calls a vector store in its folder; here a folder itself."""
_MMR_THRESHOLD = 0.5
_MMR_FACTOR = 4.0
"""Candidates a result, as LlamaIndex's own stores take them."""


class FaissStore(BasePydanticVectorStore):
    """Inner product over L2-normalised vectors: a similarity is a cosine in [-1, 1], whatever the kind of index.

    LlamaIndex's own FAISS stores cannot delete or filter, or number their rows anew after a delete and then return
    the wrong node; here a row's id grows with every add and is never given twice. A store may be searched by many
    threads; change or persist it from one while none searches.

    Args:
        dimension: Of the vectors.
        kind: "auto" (exact up to 100,000 vectors that fit `memory_mb`), or a kind of `raglift.index.kinds`.
        memory_mb: Most megabytes for the part of the index that every search reads; None: any number.
        recall: Recall at 10 against exact search that an approximate index is to reach.
        fingerprint: Of the embedding model, such as its name and revision: `open` refuses another one.

    Example:
        >>> store = FaissStore(dimension=384)
        >>> index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    dimension: int
    kind: str = AUTO
    memory_mb: int | None = None
    recall: float = 0.95
    fingerprint: str | None = None
    _table: VectorTable = PrivateAttr()
    _nodes: NodeTable = PrivateAttr(default_factory=NodeTable)
    _origin: tuple[Path, str] | None = PrivateAttr(default=None)
    _building: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, dimension: int, **kwargs: Any) -> None:
        super().__init__(dimension=dimension, **kwargs)
        check_kind(self.kind)
        check_bounds(self.recall, self.memory_mb)
        self._table = VectorTable(dimension, self._plan())

    def _plan(self) -> Plan:
        return Plan(self.kind, self.memory_mb, self.recall)

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises the component."""
        return "FaissStore"

    @property
    def client(self) -> Any:
        """The FAISS index that is searched; it counts positions, not row ids, and may hold deleted rows."""
        return self._table.index

    @property
    def built(self) -> Built | None:
        """The approximate index and its recall; None: search is exact."""
        return self._table.built

    def wanted(self, count: int | None = None) -> str | None:
        """The kind of approximate index that `build` would build now; None: it has nothing to do.

        Args:
            count: Of vectors, for a store that has none yet.
        """
        kind = self._table.wanted(count)
        return None if kind is None else kind.name

    def settings(self) -> dict[str, Any]:
        """What the class was given, for another store of the same make."""
        return self.model_dump(include={"dimension", "kind", "memory_mb", "recall", "fingerprint"})

    def __bool__(self) -> bool:
        """True also while it is empty: LlamaIndex's `StorageContext` asks `vector_store or SimpleVectorStore()`."""
        return True

    def __len__(self) -> int:
        return len(self._nodes)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> FaissStore:
        """A store with the same content, to be changed apart."""
        store = FaissStore(**self.settings())
        store._table, store._nodes, store._origin = self._table.copy(), self._nodes.copy(), self._origin
        return store

    def __getstate__(self) -> dict[str, Any]:
        raise UserError(
            "A FaissStore cannot be pickled.",
            "Its vectors are FAISS's, and its nodes may still be on disk.",
            "Persist it, and open the folder where it is needed: FaissStore.open(folder, mapped=True).",
        )

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes that carry their embeddings; a node that is already here is replaced."""
        nodes = list(nodes)
        if not nodes:
            return []
        lengths = {len(node.get_embedding()) for node in nodes}
        if lengths != {self.dimension}:
            raise self.other_model(f"({len(nodes)}, {', '.join(map(str, sorted(lengths)))})")
        return self.add_vectors(nodes, finite([node.get_embedding() for node in nodes]))

    def add_vectors(self, nodes: Sequence[BaseNode], vectors: NDArray[np.float32], unit: bool = True) -> list[str]:
        """`add` with the vectors as one array of shape (len(nodes), dimension).

        Args:
            unit: Make them of unit length first. Without it they rank by their inner product with the query.

        Raises:
            UserError: The vectors have another dimension, or hold what is not a number.
        """
        if not nodes:
            return []
        self._check(vectors, len(nodes))
        latest = {node.node_id: position for position, node in enumerate(nodes)}
        kept = sorted(latest.values())
        values = finite(vectors if len(kept) == len(vectors) else vectors[kept])
        if unit:
            to_unit_length(values)
        self._remove(self._nodes.rows_of(latest))
        rows = self._table.add(values)
        self._nodes.add(rows.tolist(), [nodes[position] for position in kept])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete every node of a document."""
        self._remove(self._nodes.select(documents=[ref_doc_id]).tolist())

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by metadata filter, or by both together; without either, or with an empty filter, none.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        if node_ids is not None or restricts(filters):
            self._remove(self._nodes.select(node_ids, filters=filters).tolist())

    def clear(self) -> None:
        """Delete everything; ids go on from where they were."""
        self._remove(self._nodes.rows.tolist())

    def _remove(self, rows: list[int]) -> None:
        if rows:
            self._nodes.remove(rows)
            self._table.remove(np.array(rows, dtype=np.int64))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """The nodes with these ids and this metadata, in the order they were added."""
        return [self._nodes.node(row) for row in self._nodes.select(node_ids, filters=filters).tolist()]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to the query's embedding, best first, with their cosines.

        Args:
            query: In mode "default", or "mmr": then in the order of their maximal marginal relevance.
            kwargs: For "mmr": `mmr_threshold` (0.5; 1 for nearness alone, 0 for variety alone), and how many of the
                nearest are looked at: `mmr_prefetch_k`, or `mmr_prefetch_factor` (4) times `similarity_top_k`.

        Raises:
            UserError: The query has no embedding, or asks for what a vector index alone does not have.
        """
        mmr = query.mode == VectorStoreQueryMode.MMR
        if query.query_embedding is None or not (mmr or query.mode == VectorStoreQueryMode.DEFAULT):
            raise UserError(
                f"This index cannot answer a query in mode {query.mode.value!r}.",
                "It compares embeddings; the query has none or wants something else.",
            )
        vector = finite([query.query_embedding])
        depth = query.similarity_top_k
        if mmr:
            depth = kwargs.get("mmr_prefetch_k") or round(depth * kwargs.get("mmr_prefetch_factor", _MMR_FACTOR))
        found, scores = self.search(vector, depth, self._among(query))
        if mmr:
            order = self._by_mmr(query, found[0], scores[0], kwargs.get("mmr_threshold"))
            found, scores = found[:, order], scores[:, order]
        nodes = [self._nodes.node(row) for row in found[0].tolist()]
        return VectorStoreQueryResult(nodes, scores[0].tolist(), [node.node_id for node in nodes])

    def _among(self, query: VectorStoreQuery) -> NDArray[np.int64] | None:
        # LlamaIndex's retriever passes an empty list of node ids where it means any node.
        node_ids, doc_ids = query.node_ids or None, query.doc_ids or None
        if node_ids is None and doc_ids is None and not restricts(query.filters):
            return None
        return self._nodes.select(node_ids, doc_ids, query.filters)

    def _by_mmr(
        self, query: VectorStoreQuery, rows: NDArray[np.int64], scores: NDArray[np.float32], threshold: float | None
    ) -> list[int]:
        threshold = query.mmr_threshold if threshold is None else threshold
        threshold = _MMR_THRESHOLD if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise UserError(f"mmr_threshold is {threshold}.", "It is a share.", "Give a number from 0 to 1.")
        return mmr_order(scores, self._table.vectors(rows), query.similarity_top_k, threshold)

    def search(
        self, vectors: NDArray[np.float32], depth: int, rows: Sequence[int] | NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row ids and cosines of the `depth` nearest rows to each vector, both of shape (queries, at most depth).

        Rows that were added with `unit=False` have their inner products with the vector brought to unit length.

        An approximate index may miss some of them; the cosines of those that it finds are exact. The first search
        after the store has grown past what its index was built for builds it: see `build`.

        Args:
            rows: Look among these only.

        Raises:
            UserError: The vectors have another dimension.
        """
        self._check(vectors, len(vectors))
        unit = finite(vectors)
        to_unit_length(unit)
        if self._table.wanted() is not None:
            self.build()
        among = None if rows is None else np.array(rows, dtype=np.int64)
        return self._table.search(unit, depth, among)

    def build(
        self, queries: NDArray[np.float32] | None = None, advance: Callable[[int], None] = lambda _: None
    ) -> Built | None:
        """Build the approximate index that this many vectors want, if they want one, and measure its recall.

        Args:
            queries: Vectors of questions, (queries, dimension), by which recall is measured; None: by a hundred of the
                vectors themselves.
            advance: Told how many more vectors are in.

        Returns:
            What serves from now on; None: exact search.
        """
        with self._building:
            kind = self._table.wanted()
            if kind is not None:
                asked = None if queries is None else finite(queries)
                if asked is not None:
                    self._check(asked, len(asked))
                    to_unit_length(asked)
                self._table.build(kind, asked, advance)
        return self._table.built

    def vectors(self, node_ids: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of these nodes, shape (len(node_ids), dimension)."""
        return self._table.vectors(np.array([self._nodes.row(node_id) for node_id in node_ids], dtype=np.int64))

    def node(self, row: int) -> BaseNode:
        """The node of a row id."""
        return self._nodes.node(row)

    def rows(self, filters: MetadataFilters | None = None) -> NDArray[np.int64]:
        """The row ids of the nodes with this metadata, rising; None: of all.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        return self._nodes.select(filters=filters)

    def by_id(self) -> Mapping[str, BaseNode]:
        """Node id -> a copy of the node, read when it is asked for; what is deleted later goes from it too."""
        return NodesById(self._nodes)

    def node_id(self, row: int) -> str:
        """The id of a row id's node, which is quicker to have than the node."""
        return self._nodes.node_id(row)

    def _check(self, vectors: NDArray[np.float32], count: int) -> None:
        if vectors.shape != (count, self.dimension):
            raise self.other_model(str(vectors.shape))

    def other_model(self, shape: str) -> UserError:
        """The error of vectors of another shape."""
        return UserError(
            f"The vectors have shape {shape}, the index holds vectors of {self.dimension}.",
            "They come from another embedding model.",
            "Build the index anew with this model.",
        )

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Write a new version into the folder `persist_path`; a process that dies meanwhile leaves the old one.

        Raises:
            UserError: Another process is writing there or has written since this store was opened, the disk is full, or
                a node's metadata is none that JSON has.
        """
        only_local(fs)
        if self._table.wanted() is not None:
            self.build()
        root = Path(persist_path).absolute()
        based_on = self._origin[1] if self._origin is not None and self._origin[0] == root else None
        self._origin = (root, write_version(root, self._write, based_on))

    def _write(self, folder: Path) -> dict[str, Any]:
        self._table.write(folder)
        self._nodes.write(folder)
        facts = {
            "settings": self.settings(),
            "count": len(self),
            "next_row": self._table.next_row,
            "built": None if self.built is None else asdict(self.built),
        }
        # Said only of the few stores that it is true of, so that the others stay the bytes that they were.
        return facts if self._table.bounded else facts | {"bounded": False}

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        fingerprint: str | None = None,
        dimension: int | None = None,
        mapped: bool | None = None,
        trusted: bool = True,
    ) -> FaissStore:
        """The store that `persist` wrote, every file compared with its checksum.

        Args:
            fingerprint: Of the embedding model that will ask; None: any.
            dimension: Of its vectors; None: any.
            mapped: Leave vectors and index on disk, and in memory what is used of them; None: if `memory_mb` is set.
            trusted: Whether you know where the folder comes from. If not, a child process opens it first.

        Raises:
            UserError: There is no index, it is damaged, or it belongs to another embedding model.
        """

        def read(version: Version) -> FaissStore:
            facts = version.facts
            check_model(version.path, facts["settings"], fingerprint, dimension)
            for path in () if trusted else sorted(version.path.glob("*.faiss")):
                examine(path)
            store = cls(**facts["settings"])
            built = None if facts["built"] is None else Built(**facts["built"])
            on_disk = store.memory_mb is not None if mapped is None else mapped
            store._table = VectorTable.read(version.path, store._plan(), facts["next_row"], built, on_disk)
            store._table.bounded = facts.get("bounded", True) is True
            store._nodes = NodeTable.read(version.path)
            if store._table.dimension != store.dimension or not np.array_equal(store._table.rows, store._nodes.rows):
                raise ValueError("vectors and nodes do not belong together")
            return store

        root = Path(folder).absolute()
        check_not_legacy(root)
        name, store = open_version(root, read)
        store._origin = (root, name)
        return store

    @classmethod
    def from_persist_path(cls, persist_path: str, fs: Any = None) -> FaissStore:
        """`open`, by the name that LlamaIndex's stores have for it."""
        only_local(fs)
        return cls.open(persist_path)

    @classmethod
    def from_persist_dir(cls, persist_dir: str, namespace: str = "default", fs: Any = None) -> FaissStore:
        """The store in a folder that `StorageContext.persist` wrote."""
        only_local(fs)
        return cls.open(Path(persist_dir) / PERSISTED.format(namespace=namespace))

    @classmethod
    def from_llama_index(cls, persist_dir: str | Path, trusted: bool = False, **settings: Any) -> FaissStore:
        """A store with what LlamaIndex's `FaissVectorStore` or `FaissMapVectorStore` left in a folder.

        Args:
            persist_dir: What `StorageContext.persist` wrote: default__vector_store.json, docstore.json and
                index_store.json.
            trusted: Whether you know where the folder comes from. If not, a child process opens the FAISS file first.
            settings: As the class takes them, but `dimension`.

        Raises:
            UserError: A file is missing or cannot be read.
        """
        from raglift.index.legacy import read_llama_index

        nodes, vectors = read_llama_index(Path(persist_dir), trusted)
        store = cls(dimension=vectors.shape[1], **settings)
        store.add_vectors(nodes, vectors)
        return store
