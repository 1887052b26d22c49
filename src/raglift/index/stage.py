"""The index stage: every chunk encoded by one embedding model, in a FAISS store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from raglift.artifacts import WORK, write_json
from raglift.config_schema import IndexConfig
from raglift.index.encoding import Source, blocks, encode_unknown
from raglift.index.store import FaissStore
from raglift.index.streaming import write_blocks
from raglift.index.vector_cache import VectorCache
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.progress import Progress
from raglift.records import Chunk, IndexRef

VERSION = 3
_DEFAULT = IndexConfig()


def build(
    chunks: Sequence[Chunk],
    encoder: Encoder,
    embedding_key: str,
    label: str,
    job: Job,
    config: IndexConfig = _DEFAULT,
    cache: VectorCache | None = None,
) -> None:
    """Write the store and `index.json` (an `IndexRef`) into the job's folder; neither has to fit into memory.

    Args:
        cache: Vectors that are known already; None: those alone that an earlier attempt at this stage left.
    """
    settings = config.model_dump(include={"kind", "memory_mb", "recall"})
    if cache is None:
        cache = VectorCache(job.out / WORK, "vectors", encoder.dimension, job.display.warn)
    encode_unknown(chunks, Source(encoder, cache, label), job.display)
    empty = FaissStore(dimension=encoder.dimension, fingerprint=embedding_key, **settings)
    count, kind = write_blocks(job.out, blocks(chunks, cache), empty), "flat"
    if empty.wanted(count) is not None:
        store = FaissStore.open(job.out, mapped=True)
        kind = build_approximate(store, job.display)
        store.persist(str(job.out))
    write_json(job.out / "index.json", asdict(IndexRef(".", embedding_key, encoder.dimension, count, kind)))


def copy(store: FaissStore, embedding_key: str, job: Job) -> None:
    """Write a store that holds the vectors of this model already, as `build` would write it."""
    kind = build_approximate(store, job.display)
    store.persist(str(job.out))
    reference = IndexRef(".", embedding_key, store.dimension, len(store), kind)
    write_json(job.out / "index.json", asdict(reference))


def build_approximate(store: FaissStore, display: Progress) -> str:
    """Build the approximate index that a store wants, if it wants one; the kind that serves."""
    with _shown(store, display) as advance:
        built = store.build(advance=advance)
    if built is None:
        return "flat"
    display.say(f"  {built.kind} finds {built.recall:.1%} of the exact best ten")
    return built.kind


@contextmanager
def _shown(store: FaissStore, display: Progress) -> Iterator[Callable[[int], None]]:
    """What counts the vectors of an index that has to be built; nothing is shown where there is none to build."""
    kind = store.wanted()
    if kind is None:
        yield lambda _: None
        return
    with display.stage(f"building the {kind} index", len(store), "vectors") as bar:
        yield bar.advance
