"""Documents to chunks with exact character offsets, by LlamaIndex's sentence splitter."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.node_parser import SentenceSplitter

from raglift.errors import UserError
from raglift.records import Chunk, Document, content_id


def chunk_documents(documents: Sequence[Document], tokens: int, overlap: int) -> list[Chunk]:
    """Cut each document at sentence ends into chunks of at most `tokens` tokens of LlamaIndex's own tokenizer.

    LlamaIndex finds a node's offsets by searching the document from its start, which is wrong wherever a text
    repeats itself; here the search goes on from the chunk before.

    Raises:
        UserError: No chunk is left.
    """
    splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=overlap, include_metadata=False)
    chunks = []
    for document in documents:
        cursor = 0
        for text in splitter.split_text(document.text):
            if not any(character.isalnum() for character in text):
                continue
            start = document.text.index(text, cursor)
            cursor = start + 1 if overlap else start + len(text)
            identity = content_id(document.id, start, text)
            chunks.append(Chunk(identity, document.id, text, start, start + len(text), {"source": document.source}))
    if not chunks:
        raise UserError(
            "No chunk is left of the documents.",
            f"{len(documents)} documents were read; none holds a letter or a digit.",
            "Check `data.documents`.",
        )
    return chunks
