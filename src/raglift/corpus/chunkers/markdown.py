"""At Markdown headings."""

from __future__ import annotations

from llama_index.core.node_parser import MarkdownNodeParser
from llama_index.core.schema import Document

from raglift.corpus.chunkers._base import Cut, GiveEmbedding, cut_spans, sentence_cutter, skip_space


class Markdown:
    """One section a piece, by LlamaIndex's `MarkdownNodeParser`; a section that is too long is cut at sentence ends.

    A heading with nothing under it is no passage: it goes with the section that follows.
    """

    name = "markdown"
    version = 1
    embeds = False

    def cutter(self, tokens: int, overlap: int, embedding: GiveEmbedding | None) -> Cut:
        """See `Chunker`."""
        parser = MarkdownNodeParser(include_metadata=False, include_prev_next_rel=False)
        cut = sentence_cutter(tokens, overlap)
        return lambda text: cut_spans(text, _sections(parser, text), cut)


def _sections(parser: MarkdownNodeParser, text: str) -> list[tuple[int, int]]:
    """Where each section begins and ends.

    The parser puts a space for whatever white space stands behind a heading's signs, so that its text need not be
    found in the document; but it changes no length and drops nothing but white space around a section.
    """
    spans: list[tuple[int, int]] = []
    end, bare = 0, False
    for node in parser.get_nodes_from_node(Document(text=text)):
        section = node.text
        start = skip_space(text, end)
        end = start + len(section)
        if bare:
            start = spans.pop()[0]
        spans.append((start, end))
        bare = section.startswith("#") and "\n" not in section
    return spans


PLUGIN = Markdown()
