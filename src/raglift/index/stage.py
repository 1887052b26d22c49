"""The index stage: every chunk encoded by one embedding model, in a FAISS store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from numpy.typing import NDArray

from raglift.artifacts import WORK, write_atomic, write_json
from raglift.config_schema import IndexConfig
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.records import Chunk, IndexRef, content_id

VERSION = 3
_DEFAULT = IndexConfig()
_BLOCK = 1024
"""Chunks encoded between two writes to disk."""


def node(chunk: Chunk) -> TextNode:
    """A chunk as LlamaIndex's node; its metadata stays out of what the models read."""
    return TextNode(
        id_=chunk.id,
        text=chunk.text,
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        metadata=dict(chunk.metadata),
        excluded_embed_metadata_keys=sorted(chunk.metadata),
        excluded_llm_metadata_keys=sorted(chunk.metadata),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=chunk.document_id)},
    )


def build(
    chunks: Sequence[Chunk],
    encoder: Encoder,
    embedding_key: str,
    label: str,
    job: Job,
    config: IndexConfig = _DEFAULT,
) -> None:
    """Write the store and `index.json` (an `IndexRef`) into the job's folder."""
    settings = config.model_dump(include={"kind", "memory_mb", "recall"})
    store = FaissStore(dimension=encoder.dimension, fingerprint=embedding_key, **settings)
    store.add_vectors(
        [node(chunk) for chunk in chunks], _vectors([chunk.text for chunk in chunks], encoder, label, job)
    )
    copy(store, embedding_key, job)


def copy(store: FaissStore, embedding_key: str, job: Job) -> None:
    """Write a store that holds the vectors of this model already, as `build` would write it."""
    with _shown(store, job) as advance:
        built = store.build(advance=advance)
    kind = "flat" if built is None else built.kind
    if built is not None:
        job.display.say(f"  {kind} finds {built.recall:.1%} of the exact best ten")
    store.persist(str(job.out))
    write_json(job.out / "index.json", asdict(IndexRef(".", embedding_key, store.dimension, len(store), kind)))


@contextmanager
def _shown(store: FaissStore, job: Job) -> Iterator[Callable[[int], None]]:
    """What counts the vectors of an index that has to be built; nothing is shown where there is none to build."""
    kind = store.wanted()
    if kind is None:
        yield lambda _: None
        return
    with job.display.stage(f"building the {kind} index", len(store), "vectors") as bar:
        yield bar.advance


def _vectors(texts: Sequence[str], encoder: Encoder, label: str, job: Job) -> NDArray[np.float32]:
    """Vectors of all texts; a finished block of them is on disk and is not encoded again."""
    unique = sorted(dict.fromkeys(texts), key=lambda text: (-len(text), text))
    blocks = [unique[start : start + _BLOCK] for start in range(0, len(unique), _BLOCK)]
    files = [job.out / WORK / f"vectors-{content_id(block)}.npy" for block in blocks]
    done = sum(len(block) for block, file in zip(blocks, files, strict=True) if file.exists())
    row = {text: place for place, text in enumerate(unique)}
    with job.display.stage(
        f"encoding chunks with the {label} embedding model", len(unique), "chunks", done=done
    ) as bar:
        for block, file in zip(blocks, files, strict=True):
            if not file.exists():
                buffer = BytesIO()
                np.save(buffer, encoder.encode(block, "passage", bar.advance), allow_pickle=False)
                write_atomic(file, buffer.getvalue())
    found: NDArray[np.float32] = np.concatenate([np.load(file, allow_pickle=False) for file in files])
    return found[[row[text] for text in texts]]
