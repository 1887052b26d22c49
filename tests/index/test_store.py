"""The FAISS store as LlamaIndex's vector store."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from raglift.errors import UserError
from raglift.index.store import FaissStore

WIDTH = 5
COLOURS = ["red", "green", "blue"]


def node_of(node_id: str, document: str = "d0", colour: str = "red", text: str = "text") -> TextNode:
    return TextNode(
        id_=node_id,
        text=text,
        metadata={"colour": colour},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
    )


def vector_of(seed: int) -> np.ndarray:
    """A direction of its own for every seed, of any length."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=WIDTH) * 10 ** rng.uniform(-3, 3)).astype(np.float32)


def colour_filter(*colours: str) -> MetadataFilters:
    return MetadataFilters(
        filters=[MetadataFilter(key="colour", value=list(colours), operator=FilterOperator.IN)],
        condition=FilterCondition.AND,
    )


def filled(count: int = 6) -> FaissStore:
    store = FaissStore(dimension=WIDTH)
    store.add_vectors([node_of(f"n{row}") for row in range(count)], np.array([vector_of(row) for row in range(count)]))
    return store


def test_ids_deleted_before_persisting_are_not_given_again(tmp_path: Path) -> None:
    store = filled()
    store.delete_nodes(["n4", "n5"])
    store.persist(str(tmp_path))
    opened = FaissStore.open(tmp_path)
    opened.add_vectors([node_of("new")], vector_of(50)[None])
    assert opened._nodes.row("new") == 6
    opened.clear()
    opened.persist(str(tmp_path))
    again = FaissStore.open(tmp_path)
    again.add_vectors([node_of("newer")], vector_of(51)[None])
    assert again.node_id(7) == "newer"
    assert again._nodes.rows.tolist() == [7]


def test_equal_stores_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        filled().persist(str(tmp_path / name))
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 4
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_similarities_of_a_vector_to_itself_are_at_most_one() -> None:
    store = filled(50)
    for row in range(50):
        found = store.query(VectorStoreQuery(query_embedding=vector_of(row).tolist(), similarity_top_k=50))
        assert found.ids is not None
        assert found.similarities is not None
        assert found.ids[0] == f"n{row}"
        assert max(found.similarities) <= 1
        assert min(found.similarities) >= -1


def test_a_zero_vector_is_like_nothing() -> None:
    store = FaissStore(dimension=WIDTH)
    store.add_vectors([node_of("zero"), node_of("one")], np.array([np.zeros(WIDTH), vector_of(1)], dtype=np.float32))
    found = store.query(VectorStoreQuery(query_embedding=vector_of(2).tolist(), similarity_top_k=2))
    assert dict(zip(found.ids or [], found.similarities or [], strict=True))["zero"] == 0.0
    blank = store.query(VectorStoreQuery(query_embedding=[0.0] * WIDTH, similarity_top_k=2))
    assert blank.similarities == [0.0, 0.0]


def test_adding_does_not_touch_the_vectors_given() -> None:
    vectors = np.array([vector_of(1), vector_of(2)])
    before = vectors.copy()
    FaissStore(dimension=WIDTH).add_vectors([node_of("a"), node_of("b")], vectors)
    assert np.array_equal(vectors, before)


@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1, 0])
def test_vectors_of_another_model_are_refused(width: int) -> None:
    store = filled()
    wrong = np.ones((1, width), dtype=np.float32)
    node = node_of("new")
    node.embedding = wrong[0].tolist()
    calls: list[Any] = [
        lambda: store.add_vectors([node_of("new")], wrong),
        lambda: store.add([node]),
        lambda: store.search(wrong, 3),
        lambda: store.query(VectorStoreQuery(query_embedding=wrong[0].tolist(), similarity_top_k=3)),
    ]
    for call in calls:
        with pytest.raises(UserError, match=f"the index holds vectors of {WIDTH}") as raised:
            call()
        assert raised.value.why == "They come from another embedding model."
    assert len(store) == 6


def test_what_a_vector_index_cannot_answer_is_refused() -> None:
    with pytest.raises(UserError, match="cannot answer a query in mode 'default'"):
        filled().query(VectorStoreQuery(query_str="words alone"))
    with pytest.raises(UserError, match="cannot answer a query in mode 'hybrid'"):
        filled().query(VectorStoreQuery(query_embedding=[1.0] * WIDTH, mode=VectorStoreQueryMode.HYBRID))


def test_empty_lists_of_ids_mean_any_as_llama_index_passes_them() -> None:
    query = VectorStoreQuery(query_embedding=vector_of(1).tolist(), similarity_top_k=9, node_ids=[], doc_ids=[])
    assert len(filled().query(query).ids or []) == 6


def test_rows_that_are_not_there_are_not_found_under_another() -> None:
    store = filled(8)
    store.delete_nodes(["n1"])
    assert store.client.ntotal == 8, "so few are not taken out"
    assert store.search(vector_of(1)[None], 9, [1, 4])[0].tolist() == [[4]]
    store.delete_nodes(["n2", "n3"])
    assert store.client.ntotal == 5
    assert store.search(vector_of(1)[None], 9, [1, 2, 99, 4])[0].tolist() == [[4]]


def test_a_filter_sees_what_was_added_and_deleted_since_the_last(tmp_path: Path) -> None:
    store = filled(3)
    store.persist(str(tmp_path))
    for held in (store, FaissStore.open(tmp_path)):
        assert [node.node_id for node in held.get_nodes(filters=colour_filter("red"))] == ["n0", "n1", "n2"]
        held.add_vectors([node_of("new")], vector_of(9)[None])
        assert [node.node_id for node in held.get_nodes(filters=colour_filter("red"))] == ["n0", "n1", "n2", "new"]
        held.add_vectors([node_of("n1", colour="blue")], vector_of(1)[None])
        assert [node.node_id for node in held.get_nodes(filters=colour_filter("red"))] == ["n0", "n2", "new"]
        held.delete_nodes(["n2"])
        assert [node.node_id for node in held.get_nodes(filters=colour_filter("red"))] == ["n0", "new"]
        assert [node.node_id for node in held.get_nodes(filters=colour_filter("blue"))] == ["n1"]


def test_get_nodes_by_id_and_metadata() -> None:
    store = FaissStore(dimension=WIDTH)
    nodes = [node_of(f"n{row}", colour=COLOURS[row % 3]) for row in range(6)]
    store.add_vectors(nodes, np.array([vector_of(row) for row in range(6)]))
    assert [node.node_id for node in store.get_nodes(["n4", "n1", "nowhere"])] == ["n1", "n4"]
    assert [node.node_id for node in store.get_nodes(filters=colour_filter("blue"))] == ["n2", "n5"]
    assert [node.node_id for node in store.get_nodes(["n1", "n2"], colour_filter("blue", "red"))] == ["n2"]


@pytest.mark.parametrize("condition", list(FilterCondition))
def test_a_filter_without_a_condition_in_it_asks_nothing_and_deletes_nothing(condition: FilterCondition) -> None:
    hollow = MetadataFilters(filters=[], condition=condition)
    for filters in (hollow, MetadataFilters(filters=[hollow, MetadataFilters(filters=[hollow])], condition=condition)):
        store = filled()
        store.delete_nodes(filters=filters)
        assert len(store) == len(store.get_nodes(filters=filters)) == 6
        query = VectorStoreQuery(query_embedding=vector_of(1).tolist(), similarity_top_k=9, filters=filters)
        assert len(store.query(query).ids or []) == 6
        store.delete_nodes(["n1"], filters)
        assert len(store) == 5


@pytest.mark.parametrize(
    ("condition", "left"),
    [(FilterCondition.AND, ["n0"]), (FilterCondition.OR, ["n0"]), (FilterCondition.NOT, ["n1"])],
)
def test_an_empty_group_beside_a_filter_changes_nothing(condition: FilterCondition, left: list[str]) -> None:
    store = FaissStore(dimension=WIDTH)
    store.add_vectors([node_of("n0"), node_of("n1", colour="blue")], np.array([vector_of(0), vector_of(1)]))
    blue = colour_filter("blue")
    store.delete_nodes(filters=MetadataFilters(filters=[blue, MetadataFilters(filters=[])], condition=condition))
    assert [node.node_id for node in store.get_nodes()] == left


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-25, 1e-19, 1e-12, 1.0, 1e12, 1e19, 1e30, 3e38])
@pytest.mark.parametrize("direction", [[1.0, -0.5, 0.25, 0.0, 0.125], [0.0, -0.5, -1.0, -0.25, 0.0]])
def test_a_vector_of_any_length_is_brought_to_unit_length(scale: float, direction: list[float]) -> None:
    given = (np.array([direction]) * scale).astype(np.float32)
    right = given.astype(np.float64)[0] / np.linalg.norm(given.astype(np.float64))
    store = FaissStore(dimension=WIDTH)
    store.add_vectors([node_of("one")], given)
    assert np.allclose(store.vectors(["one"])[0], right, atol=1e-6)
    assert store.search(given, 1)[1][0, 0] == pytest.approx(1.0, abs=1e-6)
    assert store.search(-given, 1)[1][0, 0] == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_no_number_in_float32_is_refused(wrong: float) -> None:
    store = filled()
    vectors = np.array([[wrong, 0.0, 0.0, 0.0, 1.0]])
    node = node_of("new")
    node.embedding = vectors[0].tolist()
    calls: list[Any] = [
        lambda: store.add_vectors([node_of("n1")], vectors),
        lambda: store.add([node]),
        lambda: store.search(vectors, 3),
        lambda: store.query(VectorStoreQuery(query_embedding=vectors[0].tolist(), similarity_top_k=3)),
    ]
    for call in calls:
        with pytest.raises(UserError, match="not a number"):
            call()
    assert [node.node_id for node in store.get_nodes()] == [f"n{row}" for row in range(6)]


@pytest.mark.parametrize("setting", [{"recall": 7}, {"recall": -0.1}, {"recall": float("nan")}, {"memory_mb": 0}])
def test_bounds_that_no_index_can_keep_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(setting))):
        FaissStore(dimension=WIDTH, **setting)
    for kept in ({"recall": 0.0}, {"recall": 1.0}, {"memory_mb": 1}):
        FaissStore(dimension=WIDTH, **kept)


@pytest.mark.parametrize("opened", [False, True])
def test_inner_products_with_longer_vectors_are_not_cut_off(opened: bool, tmp_path: Path) -> None:
    store = FaissStore(dimension=WIDTH)
    lengths = np.array([3.0, 0.5, 2.0, 1.5, 1.0], dtype=np.float32)
    store.add_vectors([node_of(f"n{row}") for row in range(WIDTH)], np.diag(lengths), unit=False)
    if opened:
        store.persist(str(tmp_path))
        store = FaissStore.open(tmp_path)
    for held in (store, copy.deepcopy(store)):
        rows, scores = held.search(np.ones((1, WIDTH)), WIDTH)
        assert rows.tolist() == [[0, 2, 3, 4, 1]]
        assert np.allclose(scores, np.array([[3.0, 2.0, 1.5, 1.0, 0.5]]) / np.sqrt(WIDTH))
        assert held.search(-np.eye(1, WIDTH), 5)[1].min() == pytest.approx(-3.0)


def test_vectors_that_came_of_unit_length_are_still_cut_off_at_one() -> None:
    store = FaissStore(dimension=2)
    seeds = np.random.default_rng(0).normal(size=(500, 2))
    units = (seeds / np.linalg.norm(seeds, axis=1, keepdims=True)).astype(np.float32)
    store.add_vectors([node_of(f"n{row}") for row in range(500)], units, unit=False)
    assert (units @ units.T).max() > 1, "rounding alone must leave the bounds, or this tries nothing"
    assert store.search(units, 500)[1].max() == 1.0


def test_nodes_by_id_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    store = FaissStore(dimension=2)
    store.add_vectors([TextNode(id_=name, text=name) for name in "abc"], np.eye(3, 2, dtype=np.float32))
    store.persist(str(tmp_path))
    opened = FaissStore.open(tmp_path)
    nodes = opened.by_id()
    assert (len(nodes), list(nodes)) == (3, ["a", "b", "c"])
    nodes["b"].metadata["changed"] = True
    assert (nodes["b"].get_content(), nodes["b"].metadata) == ("b", {})
    opened.delete_nodes(["b"])
    assert "b" not in nodes
    assert list(nodes) == ["a", "c"]
