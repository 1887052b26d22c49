"""Files of unknown source meet a child process first."""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from raglift.errors import UserError
from raglift.index import untrusted
from raglift.index.faiss_files import read_index, write_index
from raglift.index.store import FaissStore
from raglift.index.untrusted import examine
from tests.index.test_persistence import answer, store_of


def written(path: Path, count: int = 300) -> Path:
    index = faiss.IndexHNSWFlat(8, 16, faiss.METRIC_INNER_PRODUCT)
    index.add(np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32))
    write_index(index, path)
    return path


def test_a_sound_index_passes(tmp_path: Path) -> None:
    examine(written(tmp_path / "index"))
    examine(written(tmp_path / "empty", 0))
    store_of(1, 1000, kind="ivf_flat").persist(str(tmp_path / "store"))
    opened = FaissStore.open(tmp_path / "store", trusted=False)
    assert answer(opened) == answer(FaissStore.open(tmp_path / "store"))


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "lengths", "neighbours"])
def test_a_hostile_file_is_refused_and_this_process_lives(damage: str, tmp_path: Path) -> None:
    path = written(tmp_path / "index")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "other":
        data = bytearray(b"no index at all" * 100)
    elif damage == "empty":
        data = bytearray()
    elif damage == "lengths":
        data[4:12] = b"\xff" * 8  # the dimension and what follows it
    else:
        middle = len(data) // 2
        data[middle : middle + 400] = b"\x7f" * 400
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="is not opened") as raised:
        examine(path)
    assert raised.value.why


def test_an_index_that_faiss_accepts_and_that_leads_astray_is_refused(tmp_path: Path) -> None:
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(8), 8, 2, faiss.METRIC_INNER_PRODUCT)
    vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    index.train(vectors)
    index.add_with_ids(vectors, np.arange(100) + 10**6)  # positions that are not there
    write_index(index, tmp_path / "index")
    assert read_index(tmp_path / "index").ntotal == 100
    with pytest.raises(UserError, match="is not opened"):
        examine(tmp_path / "index")


def test_a_child_that_takes_too_long_or_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "index", 20_000)
    monkeypatch.setattr(untrusted, "_SECONDS", 0.0)
    monkeypatch.setattr(untrusted, "_SECONDS_A_BYTE", 0.0)
    with pytest.raises(UserError, match="is not opened") as raised:
        examine(path)
    assert "was not done after" in raised.value.why
    monkeypatch.undo()
    monkeypatch.setattr(untrusted, "_MEMORY_MB", 10)
    with pytest.raises(UserError, match="is not opened") as raised:
        examine(path)
    assert "limit on memory" in raised.value.why


def test_a_child_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="is not opened") as raised:
        examine(written(tmp_path / "index"))
    assert "did not start" in raised.value.why


def test_reading_is_limited_by_the_files_size_and_the_limit_put_back(tmp_path: Path) -> None:
    before = faiss.get_deserialization_vector_byte_limit()
    assert read_index(written(tmp_path / "index")).ntotal == 300
    assert faiss.get_deserialization_vector_byte_limit() == before
    (tmp_path / "cut").write_bytes((tmp_path / "index").read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read as a FAISS index"):
        read_index(tmp_path / "cut")
    assert faiss.get_deserialization_vector_byte_limit() == before
