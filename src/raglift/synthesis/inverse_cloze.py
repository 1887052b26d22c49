"""Inverse clozes: a sentence of a passage as the query, the rest of the passage as what it should find.

They need no language model, and no two sentences of a passage use quite the same words. Beside written questions they
bring the embedding model the rest of the corpus: passages that nothing was asked about, and wordings of its authors.

References:
    Lee et al. 2019, "Latent Retrieval for Weakly Supervised Open Domain Question Answering", section 4 (the inverse
    cloze task).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from raglift.corpus.stage import Corpus
from raglift.synthesis.evidence import evidence_texts
from raglift.training.pairs import Pair

_SPACE = re.compile(r"\s+")
_REST = 80
"""Characters of a passage that must be left without its sentence."""


def with_inverse_clozes(pairs: Sequence[Pair], corpus: Corpus, share: float, seed: int) -> list[Pair]:
    """The pairs and so many inverse clozes that these are a `share` of all, as far as there are passages for it."""
    return [*pairs, *inverse_clozes(corpus, round(len(pairs) * share / (1 - share)), seed)]


def inverse_clozes(corpus: Corpus, count: int, seed: int) -> list[Pair]:
    """At most `count` of them about chunks of the train split, one a chunk, the same for the same seed."""
    rng = random.Random(f"{seed}/inverse cloze")
    chunks = [chunk for chunk in corpus.chunks if corpus.split_of[chunk.document_id] == "train"]
    rng.shuffle(chunks)
    found: list[Pair] = []
    for chunk in chunks:
        if len(found) >= count:
            break
        text = _SPACE.sub(" ", chunk.text).strip()
        made = [(sentence, rest) for sentence in evidence_texts(chunk.text) if (rest := _without(text, sentence))]
        if made:
            found.append(Pair(*rng.choice(made), chunk.id))
    return found


def _without(text: str, sentence: str) -> str:
    """What is left of the text; empty where that is too little to be found."""
    before, found, after = text.partition(sentence)
    rest = f"{before.strip()} {after.strip()}".strip()
    return rest if found and len(rest) >= _REST else ""
