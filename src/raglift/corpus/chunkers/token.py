"""Between words, as full as they get."""

from __future__ import annotations

from llama_index.core.node_parser import TokenTextSplitter

from raglift.corpus.chunkers._base import Cut, GiveEmbedding, located


class Token:
    """As many words as fit, wherever a sentence stands, by LlamaIndex's `TokenTextSplitter`."""

    name = "token"
    version = 1
    embeds = False

    def cutter(self, tokens: int, overlap: int, embedding: GiveEmbedding | None) -> Cut:
        """See `Chunker`."""
        splitter = TokenTextSplitter(chunk_size=tokens, chunk_overlap=overlap, include_metadata=False)
        return lambda text: list(located(text, splitter.split_text(text), overlap > 0))


PLUGIN = Token()
