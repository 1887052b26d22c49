"""The FAISS store against a dictionary of vectors and brute force."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from raglift.errors import UserError
from raglift.index.store import NODES_FILE, FaissStore

WIDTH = 5
IDS = [f"n{row}" for row in range(12)]
DOCUMENTS = [f"d{row}" for row in range(4)]
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


subset = st.none() | st.lists(st.sampled_from(IDS), min_size=1, max_size=6)
documents = st.none() | st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=3)
colours = st.none() | st.lists(st.sampled_from(COLOURS), min_size=1, max_size=2)


class Compared(RuleBasedStateMachine):
    """Whatever is done to the store is done to `held`: node id -> (node, vector)."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FaissStore(dimension=WIDTH)
        self.held: dict[str, tuple[TextNode, np.ndarray]] = {}
        self.given: dict[int, str] = {}
        self.counter = 0

    def _node(self, node_id: str, document: str, colour: str) -> tuple[TextNode, np.ndarray]:
        self.counter += 1
        return node_of(node_id, document, colour, f"version {self.counter}"), vector_of(self.counter)

    @rule(
        rows=st.lists(
            st.tuples(st.sampled_from(IDS), st.sampled_from(DOCUMENTS), st.sampled_from(COLOURS)), max_size=5
        ),
        as_nodes=st.booleans(),
    )
    def add(self, rows: list[tuple[str, str, str]], as_nodes: bool) -> None:
        made = [self._node(*row) for row in rows]
        nodes: list[BaseNode] = [node for node, _ in made]
        if as_nodes:
            for node, vector in made:
                node.embedding = vector.tolist()
            returned = self.store.add(nodes)
        else:
            returned = self.store.add_vectors(nodes, np.array([vector for _, vector in made]).reshape(-1, WIDTH))
        assert returned == [node.node_id for node in nodes]
        for node, vector in made:
            self.held.pop(node.node_id, None)
            self.held[node.node_id] = (node, vector)
        for row in self.store._nodes:
            text = self.store.node(row).get_content()
            assert self.given.setdefault(row, text) == text, "a row id was given twice"

    @rule(document=st.sampled_from(DOCUMENTS))
    def delete(self, document: str) -> None:
        self.store.delete(document)
        self.held = {key: value for key, value in self.held.items() if value[0].ref_doc_id != document}

    @rule(ids=subset, chosen=colours)
    def delete_nodes(self, ids: list[str] | None, chosen: list[str] | None) -> None:
        if ids is None and chosen is None:
            return
        self.store.delete_nodes(ids, colour_filter(*chosen) if chosen is not None else None)
        gone = self._matching(ids, None, chosen)
        self.held = {key: value for key, value in self.held.items() if key not in gone}

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.held = {}

    @rule()
    def persist_and_open(self) -> None:
        with TemporaryDirectory() as folder:
            self.store.persist(folder)
            self.store = FaissStore.open(Path(folder))

    @rule(ids=subset, docs=documents, chosen=colours, depth=st.integers(0, 15), seed=st.integers(10_000, 10_100))
    def query(
        self, ids: list[str] | None, docs: list[str] | None, chosen: list[str] | None, depth: int, seed: int
    ) -> None:
        vector = vector_of(seed)
        found = self.store.query(
            VectorStoreQuery(
                query_embedding=vector.tolist(),
                similarity_top_k=depth,
                node_ids=ids,
                doc_ids=docs,
                filters=colour_filter(*chosen) if chosen is not None else None,
            )
        )
        cosines = {key: _cosine(vector, self.held[key][1]) for key in self._matching(ids, docs, chosen)}
        expected = sorted(cosines.values(), reverse=True)[:depth]
        assert found.ids is not None
        assert found.similarities == pytest.approx(expected, abs=1e-5)
        assert found.similarities == pytest.approx([cosines[key] for key in found.ids], abs=1e-5)
        assert len(set(found.ids)) == len(found.ids)
        assert [node.get_content() for node in found.nodes or []] == [
            self.held[key][0].get_content() for key in found.ids
        ]

    def _matching(self, ids: list[str] | None, docs: list[str] | None, chosen: list[str] | None) -> list[str]:
        return [
            key
            for key, (node, _) in self.held.items()
            if (ids is None or key in ids)
            and (docs is None or node.ref_doc_id in docs)
            and (chosen is None or node.metadata["colour"] in chosen)
        ]

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.store) == len(self.held) == self.store.client.ntotal
        assert [node.get_content() for node in self.store.get_nodes()] == [
            node.get_content() for node, _ in self.held.values()
        ]


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    one, two = left.astype(np.float64), right.astype(np.float64)
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


TestStoreAgainstBruteForce = Compared.TestCase
TestStoreAgainstBruteForce.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


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
    assert opened._rows["new"] == 6
    opened.clear()
    opened.persist(str(tmp_path))
    again = FaissStore.open(tmp_path)
    again.add_vectors([node_of("newer")], vector_of(51)[None])
    assert again._rows == {"newer": 7}


def test_equal_stores_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        filled().persist(str(tmp_path / name))
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    lines = (tmp_path / "one" / NODES_FILE).read_text("utf-8").splitlines()
    assert all(json.loads(line)["node"]["embedding"] is None for line in lines[:-1])


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


def test_get_nodes_by_id_and_metadata() -> None:
    store = FaissStore(dimension=WIDTH)
    nodes = [node_of(f"n{row}", colour=COLOURS[row % 3]) for row in range(6)]
    store.add_vectors(nodes, np.array([vector_of(row) for row in range(6)]))
    assert [node.node_id for node in store.get_nodes(["n4", "n1", "nowhere"])] == ["n1", "n4"]
    assert [node.node_id for node in store.get_nodes(filters=colour_filter("blue"))] == ["n2", "n5"]
    assert [node.node_id for node in store.get_nodes(["n1", "n2"], colour_filter("blue", "red"))] == ["n2"]
