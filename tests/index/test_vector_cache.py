"""Vectors that are known are given back to the bit; what is damaged, cut off or another's is not."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.artifacts import disk_errors
from raglift.errors import UserError
from raglift.index.encoding import Source, add_chunks
from raglift.index.store import FaissStore
from raglift.index.vector_cache import VectorCache, cache_key
from raglift.models.encoder import Encoder, load_encoder
from raglift.records import Chunk
from tests.tasks import QUIET, RUNTIME
from tests.tiny import SENTENCES

WIDTH = 3


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


@settings(max_examples=40)
@given(
    blocks=st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=6, unique=True), max_size=5),
    asked=st.lists(st.text(max_size=4), max_size=8),
)
def test_it_is_a_dictionary_on_disk(blocks: list[list[str]], asked: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        known: dict[str, np.ndarray] = {}
        for number, texts in enumerate(blocks):
            vectors = drawn(len(texts), number)
            VectorCache(Path(folder), "key", WIDTH).add(texts, vectors)
            known |= dict(zip(texts, vectors, strict=True))
        cache = VectorCache(Path(folder), "key", WIDTH)
        assert len(cache) == len(known)
        assert cache.unknown(asked) == [text for text in dict.fromkeys(asked) if text not in known]
        some = [text for text in asked if text in known]
        expected = np.array([known[text] for text in some], np.float32).reshape(-1, WIDTH)
        assert np.array_equal(cache.vectors(some), expected)


def test_a_model_a_prompt_a_role_and_a_precision_have_a_cache_each(tmp_path: Path) -> None:
    one = ("weights", "", "passage", "torch.float32 cpu")
    others = [(*one[:place], "other", *one[place + 1 :]) for place in range(4)]
    keys = {cache_key(*parts) for parts in (one, *others)}
    assert len(keys) == 5
    VectorCache(tmp_path, cache_key(*one), WIDTH).add(["a"], drawn(1))
    assert VectorCache(tmp_path, cache_key(*others[1]), WIDTH).unknown(["a"]) == ["a"]
    assert cache_key("a", "b", "", "") != cache_key("ab", "", "", "")


def test_a_lone_surrogate_and_many_texts_at_once_have_vectors(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "key", WIDTH)
    texts = ["\ud800", *map(str, range(1700))]
    cache.add(texts, drawn(len(texts)))
    assert cache.unknown([*texts, "new", "new"]) == ["new"]
    assert np.array_equal(cache.vectors(texts[::-1]), drawn(len(texts))[::-1])
    with pytest.raises(KeyError):
        cache.vectors(["new"])


@pytest.mark.parametrize("change", ["vector = x'00'", "sum = sum + 1", "vector = zeroblob(12)"])
def test_a_damaged_row_is_as_one_that_is_not_there(tmp_path: Path, change: str) -> None:
    cache = VectorCache(tmp_path, "key", WIDTH)
    cache.add(["a", "b"], drawn(2))
    with sqlite3.connect(cache.path) as database:
        database.execute(f"UPDATE vectors SET {change} WHERE rowid = 1")
    assert cache.unknown(["b", "a"]) == ["a"]
    cache.add(["a"], drawn(1, 5))
    assert np.array_equal(cache.vectors(["a"]), drawn(1, 5))


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 100, b"another table"])
def test_a_file_that_is_no_cache_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = VectorCache(tmp_path, "key", WIDTH).path
    if content == b"another table":
        path.unlink()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE vectors (text, other)")
    else:
        path.write_bytes(content)
    said: list[str] = []
    cache = VectorCache(tmp_path, "key", WIDTH, said.append)
    assert len(said) == 1
    assert "encoded again" in said[0]
    cache.add(["a"], drawn(1))
    assert len(VectorCache(tmp_path, "key", WIDTH, said.append)) == 1
    assert len(said) == 1


def test_a_full_disk_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VectorCache(tmp_path, "key", WIDTH)
    connect = sqlite3.connect

    def small(path: Path) -> sqlite3.Connection:
        database = connect(path)
        database.execute("PRAGMA max_page_count = 4")
        return database

    monkeypatch.setattr("raglift.index.vector_cache.sqlite3.connect", small)
    texts = list(map(str, range(2000)))
    with pytest.raises(UserError, match="full"), disk_errors(tmp_path):
        cache.add(texts, drawn(2000))
    monkeypatch.undo()
    assert len(cache) == 0


WRITER = """
import sys
from pathlib import Path
from raglift.index.vector_cache import VectorCache
from tests.index.test_vector_cache import WIDTH, drawn
cache = VectorCache(Path(sys.argv[1]), "key", WIDTH)
for block in range(10_000):
    cache.add([f"{block} {row}" for row in range(50)], drawn(50, block))
    print(block, flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_blocks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for _ in range(7):
            last = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    cache = VectorCache(tmp_path, "key", WIDTH)
    assert len(cache) % 50 == 0
    assert len(cache) >= 50 * (last + 1)
    for block in range(last + 1):
        assert np.array_equal(cache.vectors([f"{block} {row}" for row in range(50)]), drawn(50, block))


CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate([*SENTENCES, SENTENCES[0]])]


@pytest.fixture(scope="module")
def encoder(tiny_embedding: Path) -> Encoder:
    return Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)


def test_only_texts_that_are_not_known_are_encoded(encoder: Encoder, tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "key", 32)
    source = Source(encoder, cache, "tiny")

    def filled(chunks: list[Chunk]) -> tuple[int, FaissStore]:
        store = FaissStore(dimension=32)
        return add_chunks(store, chunks, source, QUIET), store

    assert filled(CHUNKS[:4])[0] == 4
    encoded, store = filled(CHUNKS)
    assert encoded == len(SENTENCES) - 4, "a text that stands twice is encoded once"
    assert [node.node_id for node in store.get_nodes()] == [chunk.id for chunk in CHUNKS]
    assert filled(CHUNKS)[0] == 0
    ids = [chunk.id for chunk in CHUNKS]
    assert np.array_equal(filled(CHUNKS)[1].vectors(ids), store.vectors(ids)), "what is known is never another"
    alone = encoder.encode([chunk.text for chunk in CHUNKS], "passage")
    np.testing.assert_allclose(store.vectors(ids), alone, atol=1e-5)


def test_from_an_empty_cache_the_same_blocks_give_the_same_bytes(encoder: Encoder, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        store = FaissStore(dimension=32)
        for chunks in (CHUNKS[:3], CHUNKS[3:]):
            add_chunks(store, chunks, Source(encoder, VectorCache(tmp_path / name, "key", 32), "tiny"), QUIET)
        store.persist(str(tmp_path / name / "store"))
        found.append((tmp_path / name / "store" / "v000001" / "vectors.faiss").read_bytes())
        shutil.rmtree(tmp_path / name)
    assert found[0] == found[1]
