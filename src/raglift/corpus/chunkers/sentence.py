"""At sentence ends."""

from __future__ import annotations

from raglift.corpus.chunkers._base import Cut, GiveEmbedding, sentence_cutter


class Sentence:
    """As many whole sentences as fit, by LlamaIndex's `SentenceSplitter`."""

    name = "sentence"
    version = 1
    embeds = False

    def cutter(self, tokens: int, overlap: int, embedding: GiveEmbedding | None) -> Cut:
        """See `Chunker`."""
        return sentence_cutter(tokens, overlap)


PLUGIN = Sentence()
