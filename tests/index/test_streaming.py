"""A store that is written block by block: the same folder as one that was in memory, and little of it there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.index import FaissStore, write_store
from raglift.index.streaming import Block

DIMENSION = 8


def nodes_of(count: int) -> list[TextNode]:
    return [
        TextNode(
            id_=f"n{row}",
            text=f"passage\n{row} ä",
            metadata={"row": row},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"d{row // 2}")} if row % 3 else {},
        )
        for row in range(count)
    ]


def vectors_of(count: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    return 3 * np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def blocks_of(nodes: Sequence[TextNode], vectors: NDArray[np.float32], sizes: Sequence[int]) -> Iterator[Block]:
    start = 0
    for size in sizes:
        yield nodes[start : start + size], vectors[start : start + size]
        start += size


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=6))
def test_the_folder_is_the_one_that_a_store_in_memory_writes(sizes: list[int]) -> None:
    nodes, vectors = nodes_of(sum(sizes)), vectors_of(sum(sizes))
    with TemporaryDirectory() as name:
        held = FaissStore(dimension=DIMENSION, fingerprint="model")
        for node, vector in zip(nodes[::2], vectors[::2], strict=True):
            node.embedding = vector.tolist()  # as LlamaIndex's nodes mostly have it
        held.add_vectors(nodes, vectors)
        held.persist(f"{name}/held")
        written = write_store(
            f"{name}/written", blocks_of(nodes, vectors, sizes), dimension=DIMENSION, fingerprint="model"
        )
        assert files(Path(name, "written")) == files(Path(name, "held"))
        assert len(written) == sum(sizes)
        if sizes and sum(sizes):
            asked = vectors_of(3)
            assert np.array_equal(written.search(asked, 2)[0], held.search(asked, 2)[0])


def test_it_opens_as_any_other_and_can_be_changed_and_persisted(tmp_path: Path) -> None:
    nodes, vectors = nodes_of(300), vectors_of(300)
    store = write_store(tmp_path, blocks_of(nodes, vectors, [128, 172]), dimension=DIMENSION, kind="scalar")
    assert store.built is None
    store.delete("d7")
    store.persist(str(tmp_path))
    again = FaissStore.open(tmp_path)
    assert again.built is not None
    assert (again.built.kind, len(again)) == ("scalar", len(store))
    assert len(store) < 300


def test_what_stops_it_leaves_the_version_before(tmp_path: Path) -> None:
    nodes, vectors = nodes_of(6), vectors_of(6)
    write_store(tmp_path, [(nodes[:2], vectors[:2])], dimension=DIMENSION)

    def stopping() -> Iterator[Block]:
        yield nodes[:3], vectors[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path, stopping(), dimension=DIMENSION)
    broken = vectors.copy()
    broken[4, 0] = np.nan
    for blocks, said in (
        ([(nodes, broken)], "not a number"),
        ([(nodes[:2], vectors[:3])], "shape"),
        ([(nodes[:2], vectors[:2, :4])], "shape"),
        ([(nodes[:2], vectors[:2]), (nodes[1:3], vectors[1:3])], "'n1' comes twice"),
    ):
        with pytest.raises(UserError, match=said):
            write_store(tmp_path, blocks, dimension=DIMENSION)
    assert [node.node_id for node in FaissStore.open(tmp_path).get_nodes()] == ["n0", "n1"]
    assert not list(tmp_path.glob("*partial*"))


def test_memory_grows_by_a_fraction_of_what_is_written(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        def made() -> Iterator[Block]:
            for start in range(0, count, 250):
                rows = range(start, start + 250)
                yield [TextNode(id_=f"n{row}", text="word " * 200) for row in rows], vectors_of(250, 256)

        tracemalloc.start()
        try:
            write_store(tmp_path / str(count), made(), dimension=256)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    first, last = peak(1_000), peak(4_000)
    on_disk = sum(path.stat().st_size for path in (tmp_path / "4000").rglob("*") if path.is_file()) / 4_000
    assert on_disk > 2_000
    assert (last - first) / 3_000 < 0.35 * on_disk


def test_vectors_stay_on_disk_where_memory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    from raglift.index import vectors as table

    read = table.read_index

    def spying(path: Path, mapped: bool = False) -> object:
        seen.append(mapped)
        return read(path, mapped)

    monkeypatch.setattr(table, "read_index", spying)
    for name, memory in (("any", None), ("little", 1)):
        store = FaissStore(dimension=DIMENSION, memory_mb=memory)
        store.add_vectors(nodes_of(4), vectors_of(4))
        store.persist(str(tmp_path / name))
        FaissStore.open(tmp_path / name)
        FaissStore.open(tmp_path / name, mapped=False)
        FaissStore.open(tmp_path / name, mapped=True)
    assert seen == [False, False, True, True, False, True]
