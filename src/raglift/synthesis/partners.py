"""The second text of a question about two: from a related passage of the same split that does not repeat the first.

Related is what BM25 ranks next for the first text. It needs no model, so that an estimate plans the same questions as
the run, and it favours no embedding model that is measured later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from raglift.corpus.stage import Corpus
from raglift.index.ranking import Bm25
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
    partners = dict(zip(alone, finder.partners(alone), strict=True))
    found = []
    for item in assignments:
        partner = partners.get(item)
        if item in partners and partner is None:
            left_out[f"{item.kind} not asked: no related passage"] += 1
        else:
            found.append(replace(item, other_id=partner[0], other=partner[1]) if partner else item)
    return found, left_out


class _Finder:
    def __init__(self, corpus: Corpus, chunks: Sequence[Chunk]) -> None:
        self._corpus = corpus
        self._chunks = {chunk.id: chunk for chunk in chunks}
        self._index = Bm25(list(self._chunks), [chunk.text for chunk in chunks])

    def partners(self, items: Sequence[Assignment]) -> list[tuple[str, str] | None]:
        """(chunk id, text) for each item, or None where no passage fits."""
        rankings = self._index.rankings([item.text for item in items], _NEAREST)
        return [
            next((partner for chunk_id, _ in ranking if (partner := self._from(item, self._chunks[chunk_id]))), None)
            for item, ranking in zip(items, rankings, strict=True)
        ]

    def _from(self, item: Assignment, chunk: Chunk) -> tuple[str, str] | None:
        """The text of the chunk that shares the most with the item's, or None if the chunk must not be its partner."""
        own = self._chunks[item.chunk_id]
        split = self._corpus.split_of
        if chunk.id == own.id or split[chunk.document_id] != split[own.document_id]:
            return None
        if chunk.id in self._corpus.similar.get(own.id, ()) or _squeezed(item.text) in _squeezed(chunk.text):
            return None
        stems = content_stems(item.text)
        texts = [text for text in evidence_texts(chunk.text) if _squeezed(text) not in _squeezed(own.text)]
        best = max(texts, key=lambda text: len(stems & content_stems(text)), default="")
        return (chunk.id, best) if stems & content_stems(best) else None


def _squeezed(text: str) -> str:
    return "".join(text.split())
