"""What LlamaIndex's own FAISS stores left on disk, read without their package."""

from __future__ import annotations

import ast
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.utils import json_to_doc
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index.faiss_files import read_index
from raglift.index.untrusted import examine

_FAISS = "default__vector_store.json"
_DOCUMENTS = "docstore.json"
_INDEXES = "index_store.json"
_MAP = "id_map.json"


def read_llama_index(folder: Path, trusted: bool) -> tuple[list[BaseNode], NDArray[np.float32]]:
    """The nodes of a persisted `FaissVectorStore` or `FaissMapVectorStore`, and their vectors, (nodes, dimension).

    A `FaissMapVectorStore` gives an id again after a delete. Two nodes that share one are told apart by the order in
    which they were added; where a later delete took both vectors, the nodes are left out, with a warning.

    Raises:
        UserError: A file is missing or cannot be read.
    """
    path = folder / _FAISS
    if not path.is_file():
        raise UserError(f"{path} is missing.", "That is where LlamaIndex keeps a FAISS index.", "Check the folder.")
    if not trusted:
        examine(path)
    index = read_index(path)
    positions = _by_map(folder / _MAP, index) if (folder / _MAP).exists() else _by_number(folder, index.ntotal)
    documents = _json(folder / _DOCUMENTS).get("docstore/data", {})
    known = {position: node_id for position, node_id in positions.items() if node_id in documents}
    if len(known) < len(positions):
        warnings.warn(f"{len(positions) - len(known)} vectors without a node were left out.", stacklevel=3)
    if not known:
        raise UserError(
            f"No node of {folder} can be matched with its vector.",
            f"{_DOCUMENTS} and {_FAISS} have nothing in common.",
            "Check that the files belong together.",
        )
    nodes = [json_to_doc(documents[node_id]) for node_id in known.values()]
    return nodes, _vectors(index)[np.array(list(known), dtype=np.int64)]


def _vectors(index: Any) -> NDArray[np.float32]:
    if isinstance(index, faiss.IndexIDMap):
        index = faiss.downcast_index(index.index)
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    vectors: NDArray[np.float32] = index.reconstruct_n(0, index.ntotal)
    return vectors


def _by_number(folder: Path, count: int) -> dict[int, str]:
    """Position -> node id, by what the index store says of each number."""
    structs = [json.loads(each["__data__"]) for each in _json(folder / _INDEXES).get("index_store/data", {}).values()]
    found: dict[int, str] = {}
    for numbers in (struct.get("nodes_dict", {}) for struct in structs):
        for number, node_id in numbers.items():
            if number.isdigit() and int(number) < count:
                found[int(number)] = node_id
    return dict(sorted(found.items()))


def _by_map(path: Path, index: Any) -> dict[int, str]:
    """Position -> node id, by the ids that the FAISS index keeps of its positions."""
    if not isinstance(index, faiss.IndexIDMap):
        raise UserError(f"{path} is there, but the index has no ids.", "The two do not belong together.", "Check both.")
    positions: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(faiss.vector_to_array(index.id_map).tolist()):
        positions[number].append(position)
    nodes: dict[int, list[str]] = defaultdict(list)
    for node_id, number in _mapped(path).items():
        nodes[int(number)].append(node_id)
    lost = sum(len(ids) for number, ids in nodes.items() if len(ids) != len(positions[number]))
    if lost:
        warnings.warn(f"{lost} nodes whose id was given twice and whose vector is gone were left out.", stacklevel=4)
    found = {
        position: node_id
        for number, ids in nodes.items()
        if len(ids) == len(positions[number])
        for position, node_id in zip(positions[number], ids, strict=True)
    }
    return dict(sorted(found.items()))


def _mapped(path: Path) -> Mapping[str, Any]:
    text = path.read_text("utf-8")
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)  # as versions before 0.5 wrote it
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise _unreadable(path, error) from error
    try:
        found: Mapping[str, Any] = value["node_id_to_faiss_id_map"]
    except (KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return value


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read.", str(error), "Check that the folder is one that LlamaIndex persisted.")
