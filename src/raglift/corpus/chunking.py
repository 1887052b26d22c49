"""Documents to chunks with exact character offsets, by one of the chunkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raglift import plugins
from raglift.corpus.chunkers._base import Chunker, GiveEmbedding
from raglift.errors import UserError
from raglift.records import Chunk, Document, content_id


def chunk_documents(
    documents: Sequence[Document],
    tokens: int,
    overlap: int,
    advance: Callable[[int], None] = lambda _: None,
    chunker: str = "sentence",
    embedding: GiveEmbedding | None = None,
) -> list[Chunk]:
    """Cut each document into chunks of at most `tokens` tokens of LlamaIndex's own tokenizer.

    Args:
        overlap: Tokens that neighbouring chunks share where a text had to be cut for its length.
        advance: Told how many more documents are done.
        chunker: A file's name under `corpus/chunkers/`.
        embedding: Gives the base embedding model, for a chunker that compares sentences.

    Raises:
        UserError: There is no such chunker, or it needs an embedding model and none is given.
    """
    plugin: Chunker = plugins.load("chunker", chunker)
    cut = plugin.cutter(tokens, overlap, embedding)
    chunks = []
    for document in documents:
        for start, text in cut(document.text):
            if any(character.isalnum() for character in text):
                identity = content_id(document.id, start, text)
                chunks.append(Chunk(identity, document.id, text, start, start + len(text), {"source": document.source}))
        advance(1)
    return chunks


def check_some(chunks: Sequence[Chunk], documents: Sequence[Document]) -> None:
    """Refuse documents of which no chunk is left.

    Raises:
        UserError: None is.
    """
    if not chunks:
        raise UserError(
            "No chunk is left of the documents.",
            f"{len(documents)} documents were read; none holds a letter or a digit.",
            "Check `data.documents`.",
        )
