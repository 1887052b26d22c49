"""The second text of a question about two: from a related passage of the same split that does not repeat the first.

Related is what BM25 ranks next for the first text. It needs no model, so that an estimate plans the same questions as
the run, and it favours no embedding model that is measured later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from raglift.corpus.stage import Corpus
from raglift.index.bm25 import Bm25
from raglift.records import Chunk
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.writer import Assignment

_NEAREST = 20


def with_partners(
    assignments: Sequence[Assignment], kinds: Mapping[str, QuestionKind], corpus: Corpus, chunks: Sequence[Chunk]
) -> tuple[list[Assignment], Counter[str]]:
    """The assignments, each with as many texts as its kind takes, in their order.

    Args:
        chunks: Those of the corpus that may be asked about.

    Returns:
        Those for which there are enough, and by reason for the funnel how many are left out.
    """
    left_out: Counter[str] = Counter()
    alone = [item for item in assignments if kinds[item.kind].texts > 1]
    if not alone:
        return list(assignments), left_out
    finder = _Finder(corpus, chunks)
    partners = finder.partners(alone)
    found = []
    for item in assignments:
        if kinds[item.kind].texts == 1:
            found.append(item)
        elif item in partners:
            chunk_id, text = partners[item]
            found.append(replace(item, other_id=chunk_id, other=text))
        else:
            left_out[f"{item.kind} not asked: no related passage"] += 1
    return found, left_out


class _Finder:
    def __init__(self, corpus: Corpus, chunks: Sequence[Chunk]) -> None:
        self._corpus = corpus
        self._chunks = {chunk.id: chunk for chunk in chunks}
        self._split = {chunk.id: corpus.split_of[chunk.document_id] for chunk in chunks}

    def partners(self, items: Sequence[Assignment]) -> dict[Assignment, tuple[str, str]]:
        """(Chunk id, text) for each item for which a passage fits."""
        found = {}
        for split in sorted(set(self._split.values())):
            # Each split by itself: the nearest of all might all be of other splits.
            chunks = [chunk for chunk in self._chunks.values() if self._split[chunk.id] == split]
            asked = [item for item in items if self._split[item.chunk_id] == split]
            index = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks])
            for item, ranking in zip(asked, index.rankings([item.text for item in asked], _NEAREST), strict=True):
                fitting = (self._from(item, self._chunks[chunk_id]) for chunk_id, _ in ranking)
                if partner := next(filter(None, fitting), None):
                    found[item] = partner
        return found

    def _from(self, item: Assignment, chunk: Chunk) -> tuple[str, str] | None:
        """The text of the chunk that shares the most with the item's, or None if the chunk must not be its partner."""
        own = self._chunks[item.chunk_id]
        if chunk.id == own.id:
            return None
        if chunk.id in self._corpus.similar.get(own.id, ()) or _squeezed(item.text) in _squeezed(chunk.text):
            return None
        stems = content_stems(item.text)
        texts = [text for text in evidence_texts(chunk.text) if _squeezed(text) not in _squeezed(own.text)]
        best = max(texts, key=lambda text: len(stems & content_stems(text)), default="")
        return (chunk.id, best) if stems & content_stems(best) else None


def _squeezed(text: str) -> str:
    return "".join(text.split())
