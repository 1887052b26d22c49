"""A store written to disk block by block: what it holds never has to fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index.flat_file import FlatWriter
from raglift.index.node_files import NodeWriter, lines_of
from raglift.index.persistence import write_version
from raglift.index.store import FaissStore
from raglift.index.unit_length import finite, to_unit_length
from raglift.index.vectors import POSITIONS_FILE, VECTORS_FILE

Block = tuple[Sequence[BaseNode], NDArray[np.float32]]
"""Nodes, and their vectors of shape (nodes, dimension)."""


def write_store(folder: str | Path, blocks: Iterable[Block], **settings: Any) -> FaissStore:
    """Write a store of what `blocks` give, one block in memory at a time, and open it with its vectors on disk.

    The folder is what `FaissStore.persist` would have written of the same nodes, but for an approximate index, which
    `build` and `persist` add. Of a node memory keeps its id and its document's, some 200 bytes.

    Args:
        folder: A new version is written there; a process that dies meanwhile leaves the old one.
        blocks: Every node once.
        settings: As `FaissStore` takes them.

    Raises:
        UserError: A node comes twice, vectors have another dimension or hold what is not a number, or the disk is full.

    Example:
        >>> blocks = ((nodes[at : at + 1000], vectors[at : at + 1000]) for at in range(0, len(nodes), 1000))
        >>> store = write_store("my-index", blocks, dimension=384, fingerprint="my-model@1")
    """
    write_blocks(folder, blocks, FaissStore(**settings))
    return FaissStore.open(folder, mapped=True)


def write_blocks(folder: str | Path, blocks: Iterable[Block], empty: FaissStore) -> int:
    """`write_store` with the settings of an empty store, and without opening what is written; how many nodes it holds.

    Raises:
        UserError: As `write_store`.
    """
    counts: list[int] = []

    def written(version: Path) -> dict[str, Any]:
        facts = _written(version, blocks, empty)
        counts.append(facts["count"])
        return facts

    write_version(Path(folder).absolute(), written, None)
    return counts[-1]


def _written(folder: Path, blocks: Iterable[Block], empty: FaissStore) -> dict[str, Any]:
    seen: set[str] = set()
    with NodeWriter(folder) as nodes, FlatWriter(folder / VECTORS_FILE, empty.dimension) as flat:
        for some, vectors in blocks:
            if vectors.shape != (len(some), empty.dimension):
                raise empty.other_model(str(vectors.shape))
            unit = finite(vectors)
            to_unit_length(unit)
            for row, node in enumerate(some, start=flat.count):
                if node.node_id in seen:
                    raise UserError(f"The node {node.node_id!r} comes twice.", "", "Give every node once.")
                seen.add(node.node_id)
                bare = node if node.embedding is None else node.model_copy(update={"embedding": None})
                nodes.add(row, node.node_id, node.ref_doc_id, lines_of(bare))
            flat.add(unit)
    np.save(folder / POSITIONS_FILE, np.arange(flat.count, dtype=np.int64), allow_pickle=False)
    return {"settings": empty.settings(), "count": flat.count, "next_row": flat.count, "built": None}
