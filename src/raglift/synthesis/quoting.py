"""Which words of a passage are to be copied before an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from raglift.records import Chunk, QAPair
from raglift.synthesis.evidence import sentences
from raglift.synthesis.words import holds, words


def evidence_quote(
    question: QAPair, shown: Collection[str], chunks: Mapping[str, Chunk], fits: Callable[[str], bool]
) -> str | None:
    """The sentence of the question's evidence that holds its first answer, as it stands in a shown passage.

    Of several it is the one with the most words of the question; where the answer runs over the end of a sentence, it
    is all of the evidence.

    Args:
        shown: Ids of the passages that the prompt shows.
        chunks: Chunk id -> chunk.
        fits: Whether a quote is short enough.

    Returns:
        A substring of a shown passage; None if nothing that fits holds the answer.
    """
    answer = question.answers[0]
    asked = set(words(question.question))
    best: tuple[int, str] | None = None
    for item in question.evidence:
        if item.chunk_id is None or item.chunk_id not in shown:
            continue
        chunk = chunks[item.chunk_id]
        span = chunk.text[max(0, item.start - chunk.start) : max(0, item.end - chunk.start)]
        held = [text for text in sentences(span) if holds(text, answer)]
        if not held and holds(span, answer):
            held = [span.strip()]
        for text in held:
            shared = len(asked & set(words(text)))
            # A sentence may have been put together where a line end of another kind was taken out.
            if text in chunk.text and fits(text) and (best is None or shared > best[0]):
                best = (shared, text)
    return best[1] if best else None
