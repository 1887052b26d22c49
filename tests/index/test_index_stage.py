"""The index stage: every chunk, once, as LlamaIndex's node."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from raglift import plugins
from raglift.config_schema import IndexConfig
from raglift.index.stage import build
from raglift.index.store import FaissStore
from raglift.index.vector_cache import VectorCache
from raglift.models.encoder import Encoder, Role, load_encoder
from raglift.records import Chunk, IndexRef, read_jsonl
from tests.tasks import RUNTIME, job
from tests.tiny import SENTENCES

CHUNKS = [
    Chunk(f"c{row}", f"d{row // 2}", text, 10 * row, 10 * row + len(text), {"source": f"{row}.txt"})
    for row, text in enumerate(SENTENCES)
]


@pytest.fixture(scope="module")
def encoder(tiny_embedding: Path) -> Encoder:
    return Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)


@pytest.fixture(scope="module")
def folder(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("index")
    build(CHUNKS, encoder, "the key", "tiny", job(out))
    return out


def test_the_stage_writes_every_chunk_and_says_whose_vectors_they_are(folder: Path, encoder: Encoder) -> None:
    store = FaissStore.open(folder)
    assert [each.node_id for each in store.get_nodes()] == [chunk.id for chunk in CHUNKS]
    text = (folder / "index.json").read_text("utf-8").replace("\n", "")
    (folder.parent / "line.jsonl").write_text(text, encoding="utf-8")
    assert read_jsonl(folder.parent / "line.jsonl", IndexRef) == [IndexRef(".", "the key", 32, 10, "flat")]
    vectors = encoder.encode(SENTENCES, "passage")
    assert [store.search(vectors, 1)[0][row][0] for row in range(10)] == list(range(10))


def test_blocks_that_were_encoded_before_an_interruption_are_not_encoded_again(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raglift.index.encoding._BLOCK", 4)
    build(CHUNKS, encoder, "the key", "tiny", job(tmp_path / "whole"))
    seen: list[int] = []

    class Stopping(Encoder):
        def encode(self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None) -> Any:
            if seen == [4]:
                raise KeyboardInterrupt
            seen.append(len(texts))
            return super().encode(texts, role, advance)

    with pytest.raises(KeyboardInterrupt):
        build(CHUNKS, Stopping(encoder.model, RUNTIME), "the key", "tiny", job(tmp_path / "cut"))
    seen[:] = [0]
    build(CHUNKS, Stopping(encoder.model, RUNTIME), "the key", "tiny", job(tmp_path / "cut"))
    assert seen == [0, 4, 2]
    names = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*") if path.is_file())
    written = [name for name in names if name.parts[0] != "work"]
    assert {"vectors.faiss", "nodes.jsonl", "index.json"} <= {name.name for name in written}
    for name in written:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_cache_that_is_given_is_filled_and_read(encoder: Encoder, tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "key", 32)
    build(CHUNKS, encoder, "the key", "tiny", job(tmp_path / "one"), cache=cache)
    assert cache.unknown([chunk.text for chunk in CHUNKS]) == []

    class Blind(Encoder):
        def encode(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("every text is known")

    build(CHUNKS, Blind(encoder.model, RUNTIME), "the key", "tiny", job(tmp_path / "two"), cache=cache)
    for path in (tmp_path / "one" / "v000001").iterdir():
        assert (tmp_path / "two" / "v000001" / path.name).read_bytes() == path.read_bytes()


def test_the_stage_builds_the_kind_of_the_config_and_says_what_it_finds(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(plugins.load("index kind", "hnsw")), "least", 5)
    said: list[str] = []
    made = job(tmp_path)
    made.display.say = said.append  # type: ignore[method-assign]
    build(CHUNKS, encoder, "the key", "tiny", made, IndexConfig(kind="hnsw", recall=0.5))
    assert json.loads((tmp_path / "index.json").read_text())["kind"] == "hnsw"
    store = FaissStore.open(tmp_path, fingerprint="the key")
    assert store.built is not None
    assert (store.built.kind, store.built.count, store.recall) == ("hnsw", 10, 0.5)
    assert any("of the exact best ten" in line for line in said)


def test_a_node_is_its_chunk_and_shows_the_models_its_text_alone(folder: Path) -> None:
    for chunk, found in zip(CHUNKS, FaissStore.open(folder).get_nodes(), strict=True):
        assert found.get_content(metadata_mode="all") != chunk.text  # type: ignore[arg-type]
        assert found.get_content(metadata_mode="llm") == chunk.text  # type: ignore[arg-type]
        assert found.get_content(metadata_mode="embed") == chunk.text  # type: ignore[arg-type]
        assert (found.ref_doc_id, found.metadata) == (chunk.document_id, chunk.metadata)
