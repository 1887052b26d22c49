"""Chunks to vectors in a store, by way of what is known already; memory holds a block of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from raglift.index.store import FaissStore
from raglift.index.streaming import Block
from raglift.index.vector_cache import VectorCache
from raglift.models.encoder import Encoder
from raglift.progress import Progress
from raglift.records import Chunk

_BLOCK = 1024
"""Chunks encoded between two writes to disk."""


@dataclass(frozen=True, slots=True)
class Source:
    """What gives passages their vectors.

    Attributes:
        encoder: Of texts that are not known.
        cache: What is known; the encoder's vectors go into it.
        label: What the model is called where progress is shown.
    """

    encoder: Encoder
    cache: VectorCache
    label: str


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


def add_chunks(store: FaissStore, chunks: Sequence[Chunk], source: Source, display: Progress) -> int:
    """Add chunks with their vectors, in their order; how many texts had to be encoded: see `encode_unknown`."""
    encoded = encode_unknown(chunks, source, display)
    for nodes, vectors in blocks(chunks, source.cache):
        store.add_vectors(nodes, vectors)
    return encoded


def blocks(chunks: Sequence[Chunk], cache: VectorCache) -> Iterator[Block]:
    """The nodes of chunks and their vectors, all of which are known, block by block in the order of the chunks."""
    for start in range(0, len(chunks), _BLOCK):
        block = chunks[start : start + _BLOCK]
        yield [node(chunk) for chunk in block], cache.vectors([chunk.text for chunk in block])


def encode_unknown(chunks: Sequence[Chunk], source: Source, display: Progress) -> int:
    """Encode the texts whose vectors are not known yet; how many they were.

    Texts are encoded in the order of their lengths, longest first, so that little goes into padding. Every block of
    them is on disk before the next begins: after an interruption none of it is encoded again, and the blocks that are
    left are the same.
    """
    texts = [chunk.text for chunk in chunks]
    every = len(set(texts))
    unknown = sorted(source.cache.unknown(texts), key=lambda text: (-len(text), text))
    name = f"encoding chunks with the {source.label} embedding model"
    if not unknown:
        if every:
            display.say(f"{name}: all {every:,} are known")
        return 0
    with display.stage(name, every, "chunks", done=every - len(unknown)) as bar:
        for start in range(0, len(unknown), _BLOCK):
            block = unknown[start : start + _BLOCK]
            source.cache.add(block, source.encoder.encode(block, "passage", bar.advance))
    return len(unknown)
