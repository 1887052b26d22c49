"""A store on disk: written whole or not at all, checked when it is opened, and one writer's at a time."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

from raglift.errors import UserError
from raglift.index import persistence
from raglift.index.persistence import LOCK, POINTER
from raglift.index.store import FaissStore

WIDTH = 8


def store_of(version: int, count: int, **settings: object) -> FaissStore:
    store = FaissStore(dimension=WIDTH, **settings)
    vectors = np.random.default_rng(version).normal(size=(count, WIDTH)).astype(np.float32)
    nodes = [TextNode(id_=f"n{row}", text=f"version {version}", metadata={"row": row}) for row in range(count)]
    store.add_vectors(nodes, vectors)
    return store


def answer(store: FaissStore) -> list[str]:
    found = store.query(VectorStoreQuery(query_embedding=[1.0] * WIDTH, similarity_top_k=5))
    return [f"{name} {node.get_content()}" for name, node in zip(found.ids or [], found.nodes or [], strict=True)]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_flat", "scalar", "binary"])
def test_what_is_opened_answers_as_before_and_can_be_changed(kind: str, mapped: bool, tmp_path: Path) -> None:
    store = store_of(1, 1200, kind=kind)
    assert (store.build() is None) == (kind == "flat")
    store.delete_nodes([f"n{row}" for row in range(50)])
    store.persist(str(tmp_path))
    opened = FaissStore.open(tmp_path, mapped=mapped)
    assert (opened.kind, opened.built, len(opened)) == (kind, store.built, 1150)
    assert answer(opened) == answer(store)
    opened.add_vectors([TextNode(id_="new", text="new")], np.ones((1, WIDTH), np.float32))
    assert answer(opened)[0] == "new new"
    opened.delete_nodes([f"n{row}" for row in range(50, 700)])  # so many that they are taken out
    assert answer(opened)[0] == "new new"
    assert opened.node_id(1200) == "new"
    assert answer(store) == answer(FaissStore.open(tmp_path)), "the file must not change under the first"


@pytest.mark.parametrize("mapped", [False, True, None])
def test_a_deep_copy_has_the_content_and_changes_apart(mapped: bool | None, tmp_path: Path) -> None:
    store = store_of(1, 1200, kind="hnsw")
    store.delete_nodes(["n0"])
    store.persist(str(tmp_path))
    if mapped is not None:
        store = FaissStore.open(tmp_path, mapped=mapped)
    twin = copy.deepcopy(store)
    before = answer(store)
    assert (answer(twin), twin.settings(), twin.built, len(twin)) == (before, store.settings(), store.built, 1199)
    twin.delete_nodes(["n1"])
    assert len(store.search(np.ones((1, WIDTH)), 1200)[0][0]) == 1199
    twin.add_vectors([TextNode(id_="n1", text="version 1")], store.vectors(["n1"]))
    twin.add_vectors([TextNode(id_="new", text="new")], np.ones((1, WIDTH), np.float32))
    assert answer(twin)[0] == "new new"
    assert twin.node_id(1201) == "new", "ids go on from where they were"
    assert (answer(store), len(store)) == (before, 1199)
    store.clear()
    assert len(twin) == 1200
    twin.persist(str(tmp_path))
    with pytest.raises(UserError, match="has changed since"):
        store.persist(str(tmp_path))


def test_pickling_is_refused_rather_than_losing_the_content() -> None:
    with pytest.raises(UserError, match="cannot be pickled") as raised:
        pickle.dumps(store_of(1, 3))
    assert "FaissStore.open" in raised.value.fix


def test_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    store = store_of(1, 30)
    store.persist(str(tmp_path))
    reader = FaissStore.open(tmp_path, mapped=True)
    store.add_vectors([TextNode(id_=f"n{row}", text="version 2") for row in range(30)], np.eye(30, WIDTH))
    store.persist(str(tmp_path))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    assert all(line.endswith("version 1") for line in answer(reader))
    assert all(line.endswith("version 2") for line in answer(FaissStore.open(tmp_path)))


def test_folders_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    own = [
        "v1",
        "v2-my-dataset",
        "v\u00b2",
        "v000007",
        "v000008x",
        ".vault.partial",
        ".v1.partial",
        ".current.json.a.tmp",
    ]
    for name in own:
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.txt").write_text("dear to somebody")
    (tmp_path / "v000007" / "manifest.json").write_text('{"format": 1}')
    for version in (1, 2):
        store_of(version, 3).persist(str(tmp_path))
    for name in own:
        assert (tmp_path / name / "data.txt").read_text() == "dear to somebody"
    ours = {path.name for path in tmp_path.iterdir()} - set(own)
    assert ours == {LOCK, POINTER, "v000009"}, "the version before is gone"
    assert answer(FaissStore.open(tmp_path))[0].endswith("version 2")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    store = store_of(1, 3)
    store.persist(str(tmp_path))
    with FileLock(str(tmp_path / LOCK)), pytest.raises(UserError, match="Another process is writing"):
        store_of(2, 3).persist(str(tmp_path))
    assert answer(FaissStore.open(tmp_path)) == answer(store)


def test_a_change_that_came_between_is_not_lost(tmp_path: Path) -> None:
    store_of(1, 3).persist(str(tmp_path))
    one, two = FaissStore.open(tmp_path), FaissStore.open(tmp_path)
    one.delete_nodes(["n0"])
    one.persist(str(tmp_path))
    one.persist(str(tmp_path))  # its own version is no other's
    two.delete_nodes(["n1"])
    with pytest.raises(UserError, match="has changed since it was opened"):
        two.persist(str(tmp_path))
    assert [node.node_id for node in FaissStore.open(tmp_path).get_nodes()] == ["n1", "n2"]
    two.persist(str(tmp_path / "elsewhere"))
    assert [node.node_id for node in FaissStore.open(tmp_path / "elsewhere").get_nodes()] == ["n0", "n2"]


def test_every_file_is_checked(tmp_path: Path) -> None:
    store = store_of(1, 1000, kind="hnsw")
    store.persist(str(tmp_path / "good"))
    files = [path.relative_to(tmp_path / "good") for path in (tmp_path / "good").rglob("*") if path.is_file()]
    checked = [file for file in files if file.name != LOCK]
    assert {file.name for file in checked} == {
        *("current.json", "manifest.json", "vectors.faiss", "approximate.faiss"),
        *("positions.npy", "nodes.jsonl", "metadata.jsonl", "rows.json"),
    }
    for number, file in enumerate(checked):
        for damage in ("changed", "missing"):
            folder = tmp_path / f"{damage}{number}"
            shutil.copytree(tmp_path / "good", folder)
            if damage == "missing":
                (folder / file).unlink()
            else:
                data = bytearray((folder / file).read_bytes())
                data[len(data) // 2] ^= 0x01
                (folder / file).write_bytes(bytes(data))
            with pytest.raises(UserError, match=r"damaged|no index") as raised:
                FaissStore.open(folder)
            assert raised.value.fix


def test_an_empty_folder_and_a_later_format_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no index"):
        FaissStore.open(tmp_path)
    store_of(1, 3).persist(str(tmp_path))
    manifest = tmp_path / "v000001" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    pointer = {"version": "v000001", "manifest": persistence.file_sha256(manifest)}
    (tmp_path / POINTER).write_text(json.dumps(pointer))
    with pytest.raises(UserError, match="format 9"):
        FaissStore.open(tmp_path)
    (tmp_path / POINTER).write_text(json.dumps(pointer | {"version": "../elsewhere"}))
    with pytest.raises(UserError, match="damaged"):
        FaissStore.open(tmp_path)


@pytest.mark.parametrize("wrong", ["rows.json", "nodes.jsonl", "metadata.jsonl", "positions.npy", "facts"])
def test_files_that_are_sealed_but_do_not_belong_together_are_refused(wrong: str, tmp_path: Path) -> None:
    store_of(1, 30).persist(str(tmp_path / "one"))
    store_of(2, 20).persist(str(tmp_path / "two"))
    version, other = tmp_path / "one" / "v000001", tmp_path / "two" / "v000001"
    manifest = json.loads((version / "manifest.json").read_text())
    if wrong == "facts":
        manifest["facts"]["settings"]["dimension"] = 9
    else:
        shutil.copy(other / wrong, version / wrong)
        manifest["files"][wrong] = persistence.file_sha256(version / wrong)
    (version / "manifest.json").write_text(json.dumps(manifest))
    pointer = {"version": "v000001", "manifest": persistence.file_sha256(version / "manifest.json")}
    (tmp_path / "one" / POINTER).write_text(json.dumps(pointer))
    with pytest.raises(UserError, match=r"damaged|do not belong together"):
        FaissStore.open(tmp_path / "one")


def seal(root: Path, change: Callable[[dict[str, Any], Path], object]) -> None:
    """Change a version as somebody would who renews every checksum after it."""
    version = root / json.loads((root / POINTER).read_text())["version"]
    manifest = json.loads((version / "manifest.json").read_text())
    change(manifest, version)
    if isinstance(manifest["files"], dict):
        manifest["files"] = {name: persistence.file_sha256(version / name) for name in manifest["files"]}
    (version / "manifest.json").write_text(json.dumps(manifest))
    sealed = {"version": version.name, "manifest": persistence.file_sha256(version / "manifest.json")}
    (root / POINTER).write_text(json.dumps(sealed))


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest, _: manifest.update(files=[]),
        lambda manifest, _: manifest.update(files={}),
        lambda manifest, _: manifest["files"].update({"../.lock": ""}),
        lambda manifest, _: manifest.update(facts=[]),
        lambda manifest, _: manifest["facts"].update(next_row=0),
        lambda manifest, _: manifest["facts"].update(next_row=29),
        lambda manifest, _: manifest["facts"].update(next_row="30"),
        lambda manifest, _: manifest["facts"].update(next_row=30.5),
        lambda _, version: (version / "rows.json").write_text("[]"),
        lambda _, version: np.save(version / "positions.npy", np.arange(30.0)),
        lambda _, version: np.save(version / "positions.npy", np.arange(30)[::-1]),
        lambda _, version: np.save(version / "positions.npy", np.arange(30).reshape(5, 6)),
    ],
)
def test_sealed_nonsense_is_damage(change: Callable[[dict[str, Any], Path], object], tmp_path: Path) -> None:
    store_of(1, 30).persist(str(tmp_path))
    seal(tmp_path, lambda *_: None)
    assert len(FaissStore.open(tmp_path)) == 30
    seal(tmp_path, change)
    with pytest.raises(UserError, match="damaged"):
        FaissStore.open(tmp_path)


def test_rows_that_do_not_rise_are_damage_also_where_nodes_agree(tmp_path: Path) -> None:
    store_of(1, 3).persist(str(tmp_path))

    def change(_: dict[str, Any], version: Path) -> None:
        np.save(version / "positions.npy", np.array([0, 2, 1]))
        (version / "rows.json").write_text((version / "rows.json").read_text().replace("[0,1,2]", "[0,2,1]"))

    seal(tmp_path, change)
    with pytest.raises(UserError, match="damaged"):
        FaissStore.open(tmp_path)


@pytest.mark.parametrize(
    "version", ["..", ".", "", "v1", "v000001/../v000001", "v\u0661\u0661\u0661\u0661\u0661\u0661", 1]
)
def test_a_pointer_names_a_version_and_nothing_else(version: object, tmp_path: Path) -> None:
    root = tmp_path / "index"
    store_of(1, 3).persist(str(root))
    for path in (root / "v000001").iterdir():
        for folder in (tmp_path, root):
            shutil.copy(path, folder / path.name)
    pointer = json.loads((root / POINTER).read_text())
    (root / POINTER).write_text(json.dumps(pointer | {"version": version}))
    with pytest.raises(UserError, match="damaged"):
        FaissStore.open(root)


@pytest.mark.parametrize("line", ["{}", "[]", "1", "not JSON", '{"__type__": "1", "__data__": {}}'])
def test_a_line_that_is_no_node_is_damage_when_it_is_asked_for(line: str, tmp_path: Path) -> None:
    store_of(1, 3).persist(str(tmp_path))
    seal(tmp_path, lambda _, version: (version / "nodes.jsonl").write_text(f"{line}\n" * 3))
    with pytest.raises(UserError, match=r"nodes\.jsonl is damaged"):
        answer(FaissStore.open(tmp_path))


@pytest.mark.parametrize("line", ["[]", "not JSON"])
def test_a_line_that_is_no_metadata_is_damage_when_a_filter_reads_it(line: str, tmp_path: Path) -> None:
    store_of(1, 3).persist(str(tmp_path))
    seal(tmp_path, lambda _, version: (version / "metadata.jsonl").write_text(f"{line}\n" * 3))
    filters = MetadataFilters(filters=[MetadataFilter(key="row", value=1)])
    with pytest.raises(UserError, match=r"metadata\.jsonl is damaged"):
        FaissStore.open(tmp_path).get_nodes(filters=filters)


def test_another_embedding_model_is_refused(tmp_path: Path) -> None:
    store_of(1, 3, fingerprint="bge-small@1").persist(str(tmp_path))
    assert len(FaissStore.open(tmp_path, fingerprint="bge-small@1", dimension=WIDTH)) == 3
    assert len(FaissStore.open(tmp_path)) == 3
    with pytest.raises(UserError, match="another embedding model") as raised:
        FaissStore.open(tmp_path, fingerprint="bge-small@2")
    assert "bge-small@1" in raised.value.why
    assert "bge-small@2" in raised.value.why
    with pytest.raises(UserError, match="another embedding model") as raised:
        FaissStore.open(tmp_path, dimension=384)
    assert "384" in raised.value.why


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(1, 3)
    store.persist(str(tmp_path))
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))

    def full(path: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(persistence, "file_sha256", full)
    store.delete_nodes(["n0"])
    with pytest.raises(UserError, match="full"):
        store.persist(str(tmp_path))
    monkeypatch.undo()
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert len(FaissStore.open(tmp_path)) == 3
    store.persist(str(tmp_path))
    assert len(FaissStore.open(tmp_path)) == 2


def test_metadata_that_json_does_not_have_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    store = store_of(1, 3)
    store.persist(str(tmp_path))
    circle: list[Any] = []
    circle.append(circle)
    for value in (date(2024, 1, 1), {"inner": {1, 2}}, b"bytes", circle):
        node = TextNode(id_="new", text="new", metadata={"row": 9, "odd": value})
        store.add_vectors([node], np.ones((1, WIDTH), np.float32))
        with pytest.raises(UserError, match="'odd' of node 'new'") as raised:
            store.persist(str(tmp_path))
        assert raised.value.fix
        assert len(FaissStore.open(tmp_path)) == 3
    assert not list(tmp_path.glob(".v*.partial"))
    store.delete_nodes(["new"])
    store.persist(str(tmp_path))


def test_a_version_may_have_folders_and_every_file_in_them_is_checked(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, str]:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "file").write_text("as it was")
        return {"about": "folders"}

    name = persistence.write_version(tmp_path, fill, None)
    read = persistence.open_version(tmp_path, lambda version: (version.path / "deep" / "er" / "file").read_text())
    assert read == (name, "as it was")
    (tmp_path / name / "deep" / "er" / "file").write_text("another")
    with pytest.raises(UserError, match="file is damaged"):
        persistence.open_version(tmp_path, lambda version: version.facts)
    persistence.write_version(tmp_path, fill, name)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["v000002"]


WRITERS = """
import os, sys
from tests.index.test_persistence import store_of
store_of(1, 10)
for line in sys.stdin:
    writer = os.fork()
    if not writer:
        while True:
            for version in range(1, 6):
                store_of(version, 200 + version).persist(sys.argv[1])
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""
"""Forks a writer for every line that it is sent, so that Python starts but once."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_writer_that_is_killed_leaves_the_old_version_or_the_new(tmp_path: Path) -> None:
    began = time.monotonic()
    store_of(1, 201).persist(str(tmp_path))
    once = time.monotonic() - began
    chance = random.Random(7)
    unfinished = 0
    command = [sys.executable, "-c", WRITERS, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(20):
            process.stdin.write("write\n")
            process.stdin.flush()
            writer = int(process.stdout.readline())
            time.sleep(chance.uniform(0.0, 4 * once))
            os.kill(writer, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            unfinished += any(tmp_path.glob(".v*.partial"))
            store = FaissStore.open(tmp_path)
            (text,) = {node.get_content() for node in store.get_nodes()}
            version = int(text.removeprefix("version "))
            written = store_of(version, 200 + version)
            assert len(store) == len(written)
            assert np.array_equal(store.vectors(["n0", "n199"]), written.vectors(["n0", "n199"]))
        process.stdin.close()
    assert unfinished, "the writer was never in the middle of it"
    store_of(9, 5).persist(str(tmp_path))
    assert len(FaissStore.open(tmp_path)) == 5
    assert sorted(path.name for path in tmp_path.iterdir())[:2] == [LOCK, POINTER], "what the dead left is swept up"
    assert len(list(tmp_path.iterdir())) == 3
