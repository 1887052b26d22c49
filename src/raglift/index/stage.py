"""The index stage: every chunk encoded by one embedding model, in a FAISS store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from raglift.artifacts import write_json
from raglift.index.store import FaissStore
from raglift.models.encoder import Encoder
from raglift.progress import Progress
from raglift.records import Chunk, IndexRef

VERSION = 1


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
    chunks: Sequence[Chunk], encoder: Encoder, embedding_key: str, label: str, display: Progress, out: Path
) -> None:
    """Write the store and `index.json` (an `IndexRef`) into `out`."""
    with display.stage(f"encoding chunks with the {label} embedding model", len(chunks), "chunks") as bar:
        vectors = encoder.encode([chunk.text for chunk in chunks], "passage", bar.advance)
    store = FaissStore(dimension=encoder.dimension)
    store.add_vectors([node(chunk) for chunk in chunks], vectors)
    store.persist(str(out))
    write_json(out / "index.json", asdict(IndexRef(".", embedding_key, store.dimension, len(store), "flat")))
