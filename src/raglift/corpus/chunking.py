"""Documents to chunks with exact character offsets, by LlamaIndex's sentence splitter."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from llama_index.core.node_parser import SentenceSplitter

from raglift.errors import UserError
from raglift.records import Chunk, Document, content_id


def chunk_documents(
    documents: Sequence[Document], tokens: int, overlap: int, advance: Callable[[int], None] = lambda _: None
) -> list[Chunk]:
    """Cut each document at sentence ends into chunks of at most `tokens` tokens of LlamaIndex's own tokenizer.

    Args:
        advance: Told how many more documents are done.

    Raises:
        UserError: No chunk is left.
    """
    splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=overlap, include_metadata=False)
    chunks = []
    for document in documents:
        for start, text in _located(document.text, splitter.split_text(document.text), overlap > 0):
            if any(character.isalnum() for character in text):
                identity = content_id(document.id, start, text)
                chunks.append(Chunk(identity, document.id, text, start, start + len(text), {"source": document.source}))
        advance(1)
    if not chunks:
        raise UserError(
            "No chunk is left of the documents.",
            f"{len(documents)} documents were read; none holds a letter or a digit.",
            "Check `data.documents`.",
        )
    return chunks


def _located(text: str, parts: Sequence[str], overlapping: bool) -> Iterator[tuple[int, str]]:
    """Each part with its place; a part that stands exactly where the one before it does is left out.

    LlamaIndex searches the document from its start, which is wrong wherever a text repeats itself. What is known is
    that the first part begins with the text, no part begins before the one before it or leaves a gap to it, and the
    last one ends with the text: places are collected forwards and chosen backwards.
    """
    if not parts:
        return
    possible = [[_skip_space(text, 0)]]
    for before, part in pairwise(parts):
        starts = possible[-1]
        latest = _skip_space(text, starts[-1] + len(before))
        start = (starts[0] if overlapping else latest) - 1
        possible.append([])
        while (start := text.find(part, start + 1, latest + len(part))) >= 0:
            nearest = starts[bisect_right(starts, start) - 1]
            if start <= _skip_space(text, nearest + len(before)):
                possible[-1].append(start)
    places = [len(text.rstrip()) - len(parts[-1])]
    for starts in reversed(possible[:-1]):
        places.append(starts[bisect_right(starts, places[-1]) - 1])
    last: tuple[int, str] | None = None
    for found in zip(reversed(places), parts, strict=True):
        if found != last:
            yield found
        last = found


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
