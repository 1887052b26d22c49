"""The FAISS store against a dictionary of vectors and brute force: whatever is done to one is done to the other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from raglift import plugins
from raglift.index import vectors
from raglift.index.kinds._base import ApproximateKind
from raglift.index.store import FaissStore

WIDTH = 8
IDS = [f"n{row}" for row in range(12)]
DOCUMENTS = [f"d{row}" for row in range(4)]
COLOURS = ["red", "green", "blue"]
CLOSE = 1e-5


def vector_of(seed: int) -> np.ndarray:
    """A direction of its own for every seed, of any length."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=WIDTH) * 10 ** rng.uniform(-3, 3)).astype(np.float32)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    one, two = left.astype(np.float64), right.astype(np.float64)
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def node_of(node_id: str, document: str, colour: str, version: int) -> TextNode:
    return TextNode(
        id_=node_id,
        text=f"version {version}",
        metadata={"colour": colour, "version": version},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
    )


def filter_of(colours: list[str], least: int | None) -> MetadataFilters:
    """Of one of the colours, and either of the first version or not below `least`."""
    within: list[Any] = [MetadataFilter(key="colour", value=colours, operator=FilterOperator.IN)]
    if least is not None:
        first = MetadataFilter(key="version", value=1)
        late = MetadataFilter(key="version", value=least, operator=FilterOperator.GTE)
        within.append(MetadataFilters(filters=[first, late], condition=FilterCondition.OR))
    return MetadataFilters(filters=within, condition=FilterCondition.AND)


subset = st.none() | st.lists(st.sampled_from(IDS), min_size=1, max_size=6)
documents = st.none() | st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=3)
chosen = st.none() | st.tuples(
    st.lists(st.sampled_from(COLOURS), min_size=1, max_size=2), st.none() | st.integers(1, 40)
)
Chosen = tuple[list[str], int | None] | None


class Compared(RuleBasedStateMachine):
    """`held` is node id -> (node, vector), in the order of adding."""

    kind: ClassVar[str] = "flat"
    before: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.store = FaissStore(dimension=WIDTH, kind=self.kind)
        self.held: dict[str, tuple[TextNode, np.ndarray]] = {}
        self.given: dict[int, str] = {}
        self.counter = 0
        self._add([(f"before{row}", DOCUMENTS[row % 4], COLOURS[row % 3]) for row in range(self.before)], False)

    def _add(self, rows: list[tuple[str, str, str]], as_nodes: bool) -> None:
        made: list[tuple[TextNode, np.ndarray]] = []
        for row in rows:
            self.counter += 1
            made.append((node_of(*row, self.counter), vector_of(self.counter)))
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
        for row in self.store._nodes.rows.tolist() if made else ():
            text = self.store.node(row).get_content()
            assert self.given.setdefault(row, text) == text, "a row id was given twice"

    @rule(
        rows=st.lists(
            st.tuples(st.sampled_from(IDS), st.sampled_from(DOCUMENTS), st.sampled_from(COLOURS)), max_size=5
        ),
        as_nodes=st.booleans(),
    )
    def add(self, rows: list[tuple[str, str, str]], as_nodes: bool) -> None:
        self._add(rows, as_nodes)

    @rule(document=st.sampled_from(DOCUMENTS))
    def delete(self, document: str) -> None:
        self.store.delete(document)
        self.held = {key: value for key, value in self.held.items() if value[0].ref_doc_id != document}

    @rule(ids=subset, filtered=chosen)
    def delete_nodes(self, ids: list[str] | None, filtered: Chosen) -> None:
        self.store.delete_nodes(ids, filter_of(*filtered) if filtered is not None else None)
        if ids is None and filtered is None:
            return
        gone = self._matching(ids, None, filtered)
        self.held = {key: value for key, value in self.held.items() if key not in gone}

    @rule(really=st.integers(0, 4))
    def clear(self, really: int) -> None:
        if not really:
            self.store.clear()
            self.held = {}

    @rule(mapped=st.booleans())
    def persist_and_open(self, mapped: bool) -> None:
        with TemporaryDirectory() as folder:
            self.store.persist(folder)
            self.store = FaissStore.open(Path(folder), mapped=mapped)

    @rule(ids=subset, docs=documents, filtered=chosen, depth=st.integers(0, 15), seed=st.integers(10_000, 10_100))
    def query(self, ids: list[str] | None, docs: list[str] | None, filtered: Chosen, depth: int, seed: int) -> None:
        vector = vector_of(seed)
        found = self.store.query(
            VectorStoreQuery(
                query_embedding=vector.tolist(),
                similarity_top_k=depth,
                node_ids=ids,
                doc_ids=docs,
                filters=filter_of(*filtered) if filtered is not None else None,
            )
        )
        cosines = {key: cosine(vector, self.held[key][1]) for key in self._matching(ids, docs, filtered)}
        assert found.ids is not None
        assert found.similarities is not None
        assert len(found.ids) == len(set(found.ids)) == min(depth, len(cosines))
        assert found.similarities == pytest.approx([cosines[key] for key in found.ids], abs=CLOSE)
        assert found.similarities == sorted(found.similarities, reverse=True)
        if self.kind == "flat":
            assert found.similarities == pytest.approx(sorted(cosines.values(), reverse=True)[:depth], abs=CLOSE)
        assert [node.get_content() for node in found.nodes or []] == [
            self.held[key][0].get_content() for key in found.ids
        ]

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=4))
    def vectors(self, ids: list[str]) -> None:
        here = [node_id for node_id in ids if node_id in self.held]
        for node_id, vector in zip(here, self.store.vectors(here), strict=True):
            assert cosine(vector, self.held[node_id][1]) == pytest.approx(1, abs=CLOSE)

    def _matching(self, ids: list[str] | None, docs: list[str] | None, filtered: Chosen) -> list[str]:
        def passes(node: TextNode) -> bool:
            if filtered is None:
                return True
            version, least = node.metadata["version"], filtered[1]
            return node.metadata["colour"] in filtered[0] and (least is None or version == 1 or version >= least)

        return [
            key
            for key, (node, _) in self.held.items()
            if (ids is None or key in ids) and (docs is None or node.ref_doc_id in docs) and passes(node)
        ]

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.store) == len(self.held) <= self.store.client.ntotal
        assert [self.store.node_id(row) for row in self.store._nodes.rows.tolist()] == list(self.held)


TestFlat = Compared.TestCase
TestFlat.settings = settings(max_examples=500, stateful_step_count=12, deadline=None)


def approximate(name: str) -> Any:
    """The machine for a kind; what the kind finds must be what is there, with exact cosines."""

    class OfKind(Compared):
        kind = name
        before = 300

        def teardown(self) -> None:
            if self.store.built is not None:
                assert self.store.built.kind == name

    OfKind.__name__ = OfKind.__qualname__ = f"Compared_{name}"
    return OfKind


APPROXIMATE = [
    name for name in plugins.names("index kind") if isinstance(plugins.load("index kind", name), ApproximateKind)
]


@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximate_kinds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "FEW", 5)
    monkeypatch.setattr(type(plugins.load("index kind", name)), "least", 256)
    quick = settings(max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(approximate(name), settings=quick)
