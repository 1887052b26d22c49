"""Kinds of index: which one is taken, what it finds, and what it says of its recall."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
from llama_index.core.schema import TextNode

from raglift import plugins
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.index.approximation import overlap, rescored
from raglift.index.choosing import EXACT, choose
from raglift.index.kinds._base import ApproximateKind
from raglift.index.store import FaissStore

WIDTH = 32
KINDS = plugins.names("index kind")
APPROXIMATE = [name for name in KINDS if isinstance(plugins.load("index kind", name), ApproximateKind)]


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around fifty centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(50, WIDTH))
    vectors = (centres[rng.integers(0, 50, count)] + 0.7 * rng.normal(size=(count, WIDTH))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def store_of(vectors: np.ndarray, kind: str, **settings: object) -> FaissStore:
    store = FaissStore(dimension=WIDTH, kind=kind, **settings)
    store.add_vectors([TextNode(id_=str(row), text="t") for row in range(len(vectors))], vectors)
    return store


def true_recall(store: FaissStore, vectors: np.ndarray, queries: np.ndarray) -> float:
    right = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    return overlap(store.search(queries, 10)[0], right)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_the_recall_that_is_stored_is_the_one_that_searches_have(kind: str, tmp_path: Path) -> None:
    vectors, queries = clustered(12_000), clustered(200, seed=5)
    store = store_of(vectors, kind)
    built = store.build(queries=queries)
    assert built is not None
    assert (built.kind, built.count) == (kind, 12_000)
    assert built.recall == pytest.approx(true_recall(store, vectors, queries), abs=2e-3)
    assert built.recall >= 0.95
    store.persist(str(tmp_path))
    assert FaissStore.open(tmp_path).built == built
    assert store.build() == built, "nothing has grown: nothing is built again"


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_similarities_are_exact_cosines_and_deleted_rows_are_never_found(kind: str) -> None:
    vectors, queries = clustered(12_000), clustered(20, seed=5)
    store = store_of(vectors, kind)
    gone = {int(row) for row in store.search(queries, 3)[0].ravel()}
    store.delete_nodes([str(row) for row in gone])
    assert store.built is not None, "so few do not cost the index"
    rows, cosines = store.search(queries, 10)
    assert not gone & set(rows.ravel().tolist())
    for query, found, line in zip(queries, rows, cosines, strict=True):
        assert line == pytest.approx(vectors[found] @ query, abs=1e-5)
        assert line.tolist() == sorted(line.tolist(), reverse=True)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_the_same_vectors_build_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        store_of(clustered(10_500), kind).persist(str(tmp_path / name))
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert "approximate.faiss" in {file.name for file in files}
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_filter_that_leaves_the_index_short_is_searched_exactly() -> None:
    vectors = clustered(30_000)
    store = store_of(vectors, "ivf_flat", recall=0.01)
    store.build()
    assert store.built is not None
    query = vectors[:1]
    far = np.argsort(vectors @ query[0])[:15_000]  # nothing of it is in the lists that are looked at
    rows, _ = store.search(query, 10, far)
    assert set(rows[0].tolist()) == set(far[np.argsort(-(vectors[far] @ query[0]))[:10]].tolist())


def test_a_store_that_outgrows_its_index_builds_it_again() -> None:
    vectors = clustered(6000)
    store = store_of(vectors[:1400], "ivf_flat")
    store.search(vectors[:1], 3)
    assert store.built is not None
    assert store.built.count == 1400
    store.add_vectors([TextNode(id_=f"more{row}", text="t") for row in range(100)], vectors[1400:1500])
    assert store.wanted() is None
    assert store.node_id(int(store.search(vectors[1450:1451], 1)[0][0, 0])) == "more50", "new rows are in it at once"
    store.add_vectors([TextNode(id_=f"most{row}", text="t") for row in range(4500)], vectors[1500:])
    assert store.wanted() == "ivf_flat"
    store.search(vectors[:1], 3)
    assert store.built.count == 6000


def test_many_threads_search_while_the_first_of_them_builds() -> None:
    vectors = clustered(8000)
    store = store_of(vectors, "hnsw")
    store.delete_nodes([str(row) for row in range(500)])
    assert store.wanted() == "hnsw"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: store.search(vectors[row : row + 1], 5)[0].tolist(), range(1000, 1064)))
    assert [rows[0][0] for rows in found] == list(range(1000, 1064))
    assert found == [store.search(vectors[row : row + 1], 5)[0].tolist() for row in range(1000, 1064)]


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_kind_is_flat_until_it_can_be_trained(kind: str) -> None:
    plugin = plugins.load("index kind", kind)
    assert choose(kind, plugin.least - 1, WIDTH).name == "flat"
    assert choose(kind, plugin.least, WIDTH).name == kind
    few = store_of(clustered(50), kind)
    assert few.build() is None
    assert few.search(clustered(50)[:1], 50)[0].shape == (1, 50)


def test_auto_is_exact_while_it_is_quick_and_then_goes_by_memory() -> None:
    def chosen(count: int, memory: int | None = None) -> str:
        return choose("auto", count, 384, memory).name

    assert [chosen(count) for count in (0, 10, EXACT)] == ["flat"] * 3
    assert chosen(EXACT + 1) == "hnsw"
    assert chosen(1_000_000, 1000) == "hnsw"
    assert chosen(1_000_000, 400) == "scalar"
    assert chosen(1_000_000, 200) == "ivf_pq"
    assert chosen(1_000_000, 100) == "binary"
    assert chosen(1_000_000, 1) == "binary", "where nothing fits, the smallest"
    assert chosen(50_000, 10) == "ivf_pq", "also few vectors may be too many for the memory"
    assert chosen(100, 1) == "flat"


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_the_memory_that_a_kind_reckons_with_is_about_what_it_takes(kind: str) -> None:
    plugin, vectors = plugins.load("index kind", kind), clustered(20_000)
    index = plugin.create(len(vectors), WIDTH)
    empty = len(faiss.serialize_index(index))
    index.train(vectors)
    index.add(vectors)
    taken = (len(faiss.serialize_index(index)) - empty) / len(vectors)
    assert plugin.bytes_each(WIDTH) == pytest.approx(taken, rel=0.35)


def test_the_config_takes_every_kind_and_says_what_is_wrong() -> None:
    for kind in ["auto", *KINDS]:
        assert config_from_dict({"data": {"documents": "d"}, "index": {"kind": kind}}).index.kind == kind
    assert config_from_dict({"data": {"documents": "d"}}).index.kind == "auto"
    for wrong, said in (({"kind": "hnws"}, "hnsw"), ({"memory_mb": 0}, "memory_mb"), ({"recall": 0}, "recall")):
        with pytest.raises(UserError, match=said):
            config_from_dict({"data": {"documents": "d"}, "index": wrong})


def test_rescoring_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], dtype=np.float32)
    queries = np.array([[1, 0], [0, 1]], dtype=np.float32)
    positions, scores = rescored(vectors, queries, np.array([[3, -1, 0, 2], [-1, -1, 1, -1]]), 3)
    assert positions.tolist() == [[0, 3, 2], [1, -1, -1]]
    assert scores[0].tolist() == pytest.approx([1, 1, 0.6])
    assert scores[1].tolist() == [1, -np.inf, -np.inf]


def test_recall_by_hand() -> None:
    found, right = np.array([[1, 2, 3], [4, 5, -1]]), np.array([[1, 2, 9], [4, 6, 7]])
    assert overlap(found, right) == pytest.approx((2 / 3 + 1 / 3) / 2, abs=1e-4)
    assert overlap(found, right, np.array([1, 4])) == pytest.approx((1 / 2 + 0) / 2)
