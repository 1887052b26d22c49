"""Where the subject changes."""

from __future__ import annotations

from itertools import accumulate, pairwise

from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.schema import Document

from raglift.corpus.chunkers._base import Cut, GiveEmbedding, cut_spans, sentence_cutter
from raglift.errors import UserError


class Semantic:
    """Breaks where a sentence is least like the one before it, by LlamaIndex's `SemanticSplitterNodeParser`.

    Each sentence, with its two neighbours, is embedded by the run's base embedding model; the greatest 5% of a
    document's distances between neighbours are breaks. A piece that is too long is cut at sentence ends.
    """

    name = "semantic"
    version = 1
    embeds = True

    def cutter(self, tokens: int, overlap: int, embedding: GiveEmbedding | None) -> Cut:
        """See `Chunker`.

        Raises:
            UserError: There is no embedding model.
        """
        if embedding is None:
            raise UserError(
                f"The chunker {self.name!r} needs an embedding model.",
                "It compares the sentences of a document with each other.",
                "Pass `embedding=lambda: model`, with any LlamaIndex embedding.",
            )
        parser = SemanticSplitterNodeParser(embed_model=embedding(), include_prev_next_rel=False)
        cut = sentence_cutter(tokens, overlap)
        return lambda text: cut_spans(text, _spans(parser, text), cut)


def _spans(parser: SemanticSplitterNodeParser, text: str) -> list[tuple[int, int]]:
    """Where each piece begins and ends: they leave out nothing but white space before the first one."""
    lengths = [len(node.get_content()) for node in parser.build_semantic_nodes_from_documents([Document(text=text)])]
    return list(pairwise(accumulate(lengths, initial=len(text) - sum(lengths))))


PLUGIN = Semantic()
