"""Clozes: a sentence of the documents with a span taken out, which the passage that holds it gives back.

A small writer's questions are often vague and their answers beside the point; a cloze's answer is right by
construction. Mixed into the language model's training they teach it to find the words that a question lacks.

References:
    Lewis et al. 2019, "Unsupervised Question Answering by Cloze Translation" (the noisy cloze of section 2.2: a
    question word in the span's place, other words dropped at random).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from raglift.corpus.stage import Corpus
from raglift.records import Chunk, Evidence, QAPair, content_id
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.words import words

_LONGEST = 5
_AROUND = 12
_DROPPED = 0.1
_FEW = 20
_COMMON = 0.05
"""A word in more than this share of the chunks, and in more than `_FEW`, neither begins nor ends an answer."""


def clozes(corpus: Corpus, count: int, seed: int) -> list[QAPair]:
    """At most `count` clozes about chunks of the train split, one a chunk, the same for the same seed."""
    rng = random.Random(f"{seed}/cloze")
    chunks = [chunk for chunk in corpus.chunks if corpus.split_of[chunk.document_id] == "train"]
    rng.shuffle(chunks)
    common = _common(chunk.text for chunk in corpus.chunks)
    found: list[QAPair] = []
    for chunk in chunks:
        if len(found) == count:
            break
        texts = evidence_texts(chunk.text)
        made = _cloze(rng.choice(texts).split(), common, rng) if texts else None
        if made is not None:
            found.append(_pair(chunk, *made))
    return found


def _common(texts: Iterable[str]) -> set[str]:
    frequency: Counter[str] = Counter()
    total = 0
    for text in texts:
        frequency.update(set(words(text)))
        total += 1
    return {word for word, count in frequency.items() if count > max(_FEW, _COMMON * total)}


def _cloze(tokens: Sequence[str], common: set[str], rng: random.Random) -> tuple[str, str] | None:
    """(question, answer), or None where no span of the sentence says anything."""

    def says(token: str) -> bool:
        return any(len(word) > 2 and word not in common for word in words(token))

    spans = [
        (start, end)
        for start in range(len(tokens))
        for end in range(start + 1, min(start + _LONGEST, len(tokens)) + 1)
        if says(tokens[start])
        and says(tokens[end - 1])
        and not any(re.search(r"[.;:]$", t) for t in tokens[start : end - 1])
    ]
    if not spans or len(tokens) < 6:
        return None
    start, end = rng.choice(spans)
    before = [token for token in tokens[max(0, start - _AROUND) : start] if rng.random() >= _DROPPED]
    after = [token for token in tokens[end : end + _AROUND] if rng.random() >= _DROPPED]
    question = " ".join([*before, "what", *after]).rstrip(" .,;:")
    return question[0].upper() + question[1:] + "?", " ".join(tokens[start:end]).strip(" .,;:")


def _pair(chunk: Chunk, question: str, answer: str) -> QAPair:
    evidence = (Evidence(chunk.document_id, chunk.id, chunk.start, chunk.end),)
    return QAPair(content_id(question, answer), question, (answer,), evidence, "cloze", "train", "synthetic")
