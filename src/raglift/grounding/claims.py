"""Sentences that a passage supports, and the same made false by machine: what a support checker learns from.

Every claim is of one split of the documents, and so are the passages and the names that make it false.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from raglift import plugins
from raglift.corpus.stage import Corpus
from raglift.grounding.corruptions._base import KIND, Corruption, Elsewhere
from raglift.grounding.rewording import reworded
from raglift.grounding.spans import names
from raglift.grounding.statements import parted, restated, statement
from raglift.index.bm25 import Bm25
from raglift.records import Chunk, Evidence, QAPair, Split
from raglift.synthesis.evidence import sentences

_NEIGHBOURS = 12
"""Passages by BM25 among which another document's are looked for."""
_ENDS = (".", "!", "\u3002", "\uff01", "\u0964")
"""Of sentences, in English, Chinese and Hindi."""
_REWORDED = 0.67
"""Share of the sentences that are said in other words, where that can be done."""
_WHOLE = 0.3
"""Share of the claims for which a whole other sentence may take their place before anything else is tried."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence about a passage.

    Attributes:
        supported: Whether the passage says so.
        kind: Where it is supported "sentence", "reworded" (one in other words), "answer" (behind its question) or
            "restated" (put into its question), else the name of the corruption.
        document_id: Of the passage: claims about one document hang together.
    """

    text: str
    passage: str
    supported: bool
    kind: str
    document_id: str


def corruptions(names_: Sequence[str] | None = None) -> dict[str, Corruption]:
    """The corruptions by name; all of them, if none is named."""
    return {name: plugins.load(KIND, name) for name in names_ or plugins.names(KIND)}


def claims_of(
    corpus: Corpus,
    questions: Iterable[QAPair],
    split: Split,
    seed: int,
    most: int,
    kinds: Sequence[str] | None = None,
) -> list[Claim]:
    """At most `most` supported claims about documents of a split, each followed by one that a corruption made of it.

    Half are sentences of passages, most of them in other words where a rule can say them so, for a claim need not stand
    there word for word; half are questions with their answers, as far as there are any, of which some are put into one
    sentence.

    Args:
        questions: With answers and evidence; those of other splits are left out.
        kinds: Corruptions; None: all.
    """
    chance = random.Random(f"{seed}/claims/{split}")
    chunks = [chunk for chunk in corpus.chunks if corpus.split_of[chunk.document_id] == split]
    said = [*_sentences(chunks, chance), *_answers(questions, corpus, split)]
    chance.shuffle(said)
    answers = [claim for claim in said if claim.kind == "answer"][: most // 2]
    kept = [claim for claim in said if claim.kind != "answer"][: most - len(answers)] + answers
    chance.shuffle(kept)
    makers = corruptions(kinds)
    elsewhere = _Elsewhere(chunks, said)
    found = []
    for claim in kept:
        made = _corrupted(claim, makers, elsewhere, chance)
        if made is not None:
            found += _as_sentences(claim, made)
    return found


def _as_sentences(claim: Claim, made: Claim) -> list[Claim]:
    """A question's claims in the words of a sentence, where both can be said so: it stands in no passage."""
    texts = [restated(each.text) for each in (claim, made)] if claim.kind == "answer" else []
    if not texts or not all(texts) or texts[0] == texts[1]:
        return [claim, made]
    return [replace(claim, text=str(texts[0]), kind="restated"), replace(made, text=str(texts[1]))]


def _sentences(chunks: Sequence[Chunk], chance: random.Random) -> list[Claim]:
    found = []
    for chunk in chunks:
        for sentence in sentences(chunk.text):
            text = " ".join(sentence.split())
            if 40 <= len(text) <= 300 and text.endswith(_ENDS):
                own = reworded(text, chance) if chance.random() < _REWORDED else text
                kind = "sentence" if own == text else "reworded"
                found.append(Claim(own, chunk.text, True, kind, chunk.document_id))
    return found


def _answers(questions: Iterable[QAPair], corpus: Corpus, split: Split) -> list[Claim]:
    of: dict[str, list[Chunk]] = {}
    for chunk in corpus.chunks:
        of.setdefault(chunk.document_id, []).append(chunk)
    found: list[Claim] = []
    for pair in questions:
        one = len({evidence.document_id for evidence in pair.evidence}) == 1  # what two say, neither says alone
        for evidence in pair.evidence[:1] if pair.answers and pair.answerable and one else ():
            if corpus.split_of[evidence.document_id] != split:
                continue
            own = _holding(pair.answers[0], evidence, of.get(evidence.document_id, ()))
            if own is not None:
                text = statement(pair.question, pair.answers[0])
                found.append(Claim(text, own.text, True, "answer", own.document_id))
    return found


def _holding(answer: str, evidence: Evidence, chunks: Sequence[Chunk]) -> Chunk | None:
    """The chunk that the evidence names, or where it names a document alone the first that holds the answer."""
    if evidence.chunk_id is not None:
        return next((chunk for chunk in chunks if chunk.id == evidence.chunk_id), None)
    return next((chunk for chunk in chunks if answer.strip() and answer in chunk.text), None)


def _corrupted(
    claim: Claim, makers: dict[str, Corruption], elsewhere: _Elsewhere, chance: random.Random
) -> Claim | None:
    """The claim made false by the first of the corruptions, in an order of chance, that finds something to change.

    One that replaces the whole claim always does, and mostly comes last, or there would be little else.
    """
    around = elsewhere.of(claim)
    order = chance.sample(sorted(makers), len(makers))
    if chance.random() > _WHOLE:
        order.sort(key=lambda name: makers[name].whole)
    for name in order:
        text = makers[name].corrupt(claim.text, claim.passage, around, chance)
        if text is not None and text != claim.text and text not in claim.passage:
            return Claim(text, claim.passage, False, name, claim.document_id)
    return None


class _Elsewhere:
    """What other documents than a claim's hold, of the same split."""

    def __init__(self, chunks: Sequence[Chunk], claims: Sequence[Claim]) -> None:
        self._answers: dict[str, list[str]] = {}
        for claim in claims:
            question, answer = parted(claim.text)
            if claim.kind == "answer" and question:
                self._answers.setdefault(claim.document_id, []).append(answer)
        self._chunks = {chunk.id: chunk for chunk in chunks}
        self._bm25 = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks])
        self._names = {
            chunk.id: [chunk.text[slice(*span)] for span in names(chunk.text) if span[1] - span[0] < 40]
            for chunk in chunks
        }
        self._known: dict[str, Elsewhere] = {}

    def of(self, claim: Claim) -> Elsewhere:
        if claim.passage not in self._known:
            ranking = self._bm25.rankings([claim.passage], _NEIGHBOURS)[0]
            others = [
                self._chunks[chunk_id]
                for chunk_id, _ in ranking
                if self._chunks[chunk_id].document_id != claim.document_id
            ]
            near = [" ".join(text.split()) for chunk in others[:4] for text in sentences(chunk.text)]
            held = list(dict.fromkeys(name for chunk in others for name in self._names[chunk.id]))
            long = [text for text in near if 40 <= len(text) <= 300]
            self._known[claim.passage] = Elsewhere(held, long)
        # A bare answer in the place of a claim without a question would show by its form that it is false.
        asked = claim.kind == "answer" and parted(claim.text)[0]
        answers = self._answers.get(claim.document_id, ()) if asked else ()
        return replace(self._known[claim.passage], answers=list(dict.fromkeys(answers)))
