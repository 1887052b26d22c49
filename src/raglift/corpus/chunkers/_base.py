"""What the chunkers share: their interface, and how the pieces of a text find their places again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import SentenceSplitter

GiveEmbedding = Callable[[], BaseEmbedding]
Cut = Callable[[str], list[tuple[int, str]]]
"""A text -> (start, piece) of each piece, in order, where `text[start : start + len(piece)] == piece`."""


class Chunker(Protocol):
    """A way to cut texts.

    Attributes:
        name: The file's name.
        version: Raised when the same text and settings give other pieces.
        embeds: Whether it needs the run's base embedding model, which then decides the corpus's key too.
    """

    name: str
    version: int
    embeds: bool

    def cutter(self, tokens: int, overlap: int, embedding: GiveEmbedding | None) -> Cut:
        """What cuts one text.

        Args:
            tokens: Longest piece, as LlamaIndex's tokenizer counts.
            overlap: Tokens that neighbouring pieces share where a text had to be cut for its length.
            embedding: Gives the base embedding model; called, and needed, only by a chunker that `embeds`.
        """
        ...


def sentence_cutter(tokens: int, overlap: int) -> Cut:
    """Cuts at sentence ends, and only what is longer than `tokens`."""
    splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=overlap, include_metadata=False)
    return lambda text: list(located(text, splitter.split_text(text), overlap > 0))


def cut_spans(text: str, spans: Sequence[tuple[int, int]], cut: Cut) -> list[tuple[int, str]]:
    """Each span of `text` without the white space around it, cut again by `cut`."""
    pieces = []
    for start, end in spans:
        start = skip_space(text, start)
        pieces += [(start + place, part) for place, part in cut(text[start:end].rstrip())]
    return pieces


def located(text: str, parts: Sequence[str], overlapping: bool) -> Iterator[tuple[int, str]]:
    """Each part with its place; a part that stands exactly where the one before it does is left out.

    LlamaIndex searches the document from its start, which is wrong wherever a text repeats itself. What is known is
    that the first part begins with the text, no part begins before the one before it or leaves a gap to it, and the
    last one ends with the text: places are collected forwards and chosen backwards.
    """
    if not parts:
        return
    possible = [[skip_space(text, 0)]]
    for before, part in pairwise(parts):
        starts = possible[-1]
        latest = skip_space(text, starts[-1] + len(before))
        start = (starts[0] if overlapping else latest) - 1
        possible.append([])
        while (start := text.find(part, start + 1, latest + len(part))) >= 0:
            nearest = starts[bisect_right(starts, start) - 1]
            if start <= skip_space(text, nearest + len(before)):
                possible[-1].append(start)
    places = [len(text.rstrip()) - len(parts[-1])]
    for starts in reversed(possible[:-1]):
        places.append(starts[bisect_right(starts, places[-1]) - 1])
    last: tuple[int, str] | None = None
    for found in zip(reversed(places), parts, strict=True):
        if found != last:
            yield found
        last = found


def skip_space(text: str, start: int) -> int:
    """The first place from `start` on that holds no white space."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start
