"""Folders that LlamaIndex's own FAISS stores wrote."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from raglift.errors import UserError
from raglift.index import FaissStore
from tests.index.test_llama_index import WIDTH, Hashed, documents, texts_of

stores = pytest.importorskip("llama_index.vector_stores.faiss")

TEXTS = ["low tide", "high tide", "kites", "oaks"]


def persisted(folder: Path, index: Any, mapped: bool = False) -> Path:
    theirs = stores.FaissMapVectorStore(index) if mapped else stores.FaissVectorStore(index)
    storage = StorageContext.from_defaults(vector_store=theirs)
    VectorStoreIndex.from_documents(documents(*TEXTS), storage_context=storage, embed_model=Hashed())
    storage.persist(str(folder))
    return folder


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("metric", ["l2", "ip", "hnsw", "ivf", "map"])
def test_nodes_and_vectors_are_those_of_the_folder(metric: str, trusted: bool, tmp_path: Path) -> None:
    index: Any = faiss.IndexFlatIP(WIDTH) if metric == "ip" else faiss.IndexFlatL2(WIDTH)
    if metric == "hnsw":
        index = faiss.IndexHNSWFlat(WIDTH, 8)
    elif metric == "ivf":
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(WIDTH), WIDTH, 2)
        index.train(np.random.default_rng(0).normal(size=(100, WIDTH)).astype(np.float32))
    elif metric == "map":
        index = faiss.IndexIDMap2(index)
    store = FaissStore.from_llama_index(persisted(tmp_path, index, metric == "map"), trusted=trusted)
    assert texts_of(store) == sorted(TEXTS)
    for text in TEXTS:
        query = VectorStoreQuery(query_embedding=Hashed().get_text_embedding(text), similarity_top_k=1)
        found = store.query(query)
        assert found.nodes is not None
        assert found.nodes[0].get_content() == text
        assert found.similarities == pytest.approx([1], abs=1e-5)
    store.delete("d0")
    assert len(store) == 3


def test_their_package_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = persisted(tmp_path, faiss.IndexFlatL2(WIDTH))
    monkeypatch.setitem(sys.modules, "llama_index.vector_stores.faiss", None)
    assert texts_of(FaissStore.from_llama_index(folder)) == sorted(TEXTS)


def map_folder(folder: Path, delete: list[str]) -> Path:
    """Where a delete made the map store give an id again: the fault that `FaissStore` does not have."""
    theirs = stores.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(WIDTH)))
    nodes = [TextNode(id_=text, text=text, embedding=Hashed().get_text_embedding(text)) for text in TEXTS]
    theirs.add(nodes)
    theirs.delete_nodes(["low tide"])
    late = TextNode(id_="late", text="late", embedding=Hashed().get_text_embedding("late"))
    theirs.add([late])  # under the id of "oaks"
    theirs.delete_nodes(delete)
    storage = StorageContext.from_defaults(vector_store=theirs)
    storage.docstore.add_documents([*nodes, late])
    storage.persist(str(folder))
    return folder


def test_ids_that_were_given_twice_are_told_apart(tmp_path: Path) -> None:
    store = FaissStore.from_llama_index(map_folder(tmp_path, []))
    assert texts_of(store) == ["high tide", "kites", "late", "oaks"]
    for text in texts_of(store):
        cosine = store.vectors([text])[0] @ np.array(Hashed().get_text_embedding(text))
        assert cosine / np.linalg.norm(Hashed().get_text_embedding(text)) == pytest.approx(1, abs=1e-5)


def test_what_their_delete_took_by_mistake_is_left_out_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 nodes whose id was given twice"):
        store = FaissStore.from_llama_index(map_folder(tmp_path, ["late"]))
    assert texts_of(store) == ["high tide", "kites"]


def test_settings_are_taken_and_an_older_map_is_read(tmp_path: Path) -> None:
    folder = map_folder(tmp_path, [])
    value = json.loads((folder / "id_map.json").read_text())
    (folder / "id_map.json").write_text(str(value))
    store = FaissStore.from_llama_index(folder, kind="hnsw", fingerprint="m@1")
    assert (store.kind, store.fingerprint, len(store)) == ("hnsw", "m@1", 4)


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    good = persisted(tmp_path / "good", faiss.IndexFlatL2(WIDTH))
    with pytest.raises(UserError, match="is missing"):
        FaissStore.from_llama_index(tmp_path)
    for name in ("docstore.json", "index_store.json"):
        shutil.copytree(good, tmp_path / name)
        (tmp_path / name / name).unlink()
        with pytest.raises(UserError, match="cannot be read"):
            FaissStore.from_llama_index(tmp_path / name)
    shutil.copytree(good, tmp_path / "other")
    storage = StorageContext.from_defaults()
    storage.docstore.add_documents([Document(text="stranger")])
    storage.docstore.persist(str(tmp_path / "other" / "docstore.json"))
    with pytest.warns(UserWarning, match="4 vectors"), pytest.raises(UserError, match="No node"):
        FaissStore.from_llama_index(tmp_path / "other")
    with pytest.raises(UserError, match="own FAISS store") as raised:
        FaissStore.from_persist_dir(str(good))
    assert "from_llama_index" in raised.value.fix
    (good / "id_map.json").write_text("{}")
    with pytest.raises(UserError, match="has no ids"):
        FaissStore.from_llama_index(good)
