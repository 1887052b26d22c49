"""What a reranker learns from and is chosen by: lists of passages as the first stage ranks them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from raglift.artifacts import write_json
from raglift.config import RerankConfig
from raglift.corpus.stage import Corpus
from raglift.index.dense import by_cosine
from raglift.index.first_stage import FirstStage
from raglift.index.first_stage import asked as searches_of
from raglift.index.ranking import Ranking
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.records import Chunk, QAPair
from raglift.synthesis.hard_negatives import Miner, save_pairs
from raglift.synthesis.training_sets import embedding_pairs
from raglift.training.pairs import Pair

VERSION = 2
_DEPTH = 100
_BLOCK = 256
_TRIES = 20
"""Draws for each random negative."""

Asked = tuple[QAPair, Ranking]
"""A question, and what the first stage found for it."""


class ListMiner(Miner):
    """Chooses the wrong passages of a question's list: hard ones from the first stage, and random ones."""

    @cached_property
    def _trained(self) -> list[Chunk]:
        return [chunk for chunk in self._corpus.chunks if self._corpus.split_of[chunk.document_id] == "train"]

    def with_random(self, pair: Pair, count: int, rng: random.Random) -> Pair:
        """The pair with `count` more negatives, drawn from all that may be trained on; fewer where it has little else.

        Passages that are spared, that answer the question or that repeat one of the others are not drawn.
        """
        chunks = self._trained
        barred = {pair.chunk_id, *pair.spared, *self._right(pair)}
        ids = list(pair.negative_ids)
        for _ in range(_TRIES * count if chunks else 0):
            chunk = rng.choice(chunks)
            if len(ids) == len(pair.negative_ids) + count:
                break
            if chunk.id not in barred and not self._answers(pair, chunk) and not self._repeats(chunk.id, ids):
                ids.append(chunk.id)
        texts = tuple(self._corpus.text_of[chunk_id] for chunk_id in ids)
        return replace(pair, negatives=texts, negative_ids=tuple(ids))


def build(
    settings: RerankConfig,
    corpus: Corpus,
    questions: Sequence[QAPair],
    first: FirstStage,
    store: FaissStore,
    job: Job,
) -> None:
    """Write the dataset `pairs` (training lists), dev.json (the first stage's rankings) and funnel.json.

    Args:
        questions: The synthetic questions of every split.
        first: Finds passages; it has a dense side.
        store: That side's index.
    """
    assert first.dense is not None
    trained = [question for question in questions if question.split == "train"]
    miner = ListMiner(corpus, trained, settings.hard_negatives, settings.hard_negative_ceiling)
    pairs = embedding_pairs(trained, corpus)
    rng = random.Random(f"{job.seed}/random negatives")
    found: list[Pair] = []
    with job.display.stage("mining wrong passages for the reranker", len(pairs), "questions") as bar:
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            asked = [pair.query for pair in block]
            ranked = first.rankings(searches_of(asked), max(_DEPTH, settings.depth))
            rankings = by_cosine(first.dense, store, asked, ranked)
            for pair, ranking in zip(block, rankings, strict=True):
                found.append(miner.with_random(miner.mine(pair, ranking), settings.random_negatives, rng))
                bar.advance()
    lists = [pair for pair in found if pair.negatives]
    save_pairs(lists, job.out / "pairs")
    sets = [_dev(asked, settings.dev_questions, job.seed) for asked in (corpus.human, questions)]
    told = [[q.id for q in asked] for asked in sets]
    dev = [first.rankings(searches_of([q.question for q in asked]), settings.depth) for asked in sets]
    write_json(job.out / "dev.json", [dict(zip(*both, strict=True)) for both in zip(told, dev, strict=True)])
    counts = {
        "wrong passages": sum(len(pair.negatives) for pair in lists),
        "questions without a wrong passage": len(found) - len(lists),
    }
    funnel = [{"stage": "reranker's lists", "reason": reason, "count": count} for reason, count in counts.items()]
    write_json(job.out / "funnel.json", funnel)


def _dev(questions: Sequence[QAPair], most: int | None, seed: int) -> list[QAPair]:
    """Development questions with evidence: all, or a seeded sample, in their order."""
    usable = [question for question in questions if question.split == "dev" and question.evidence]
    if most is None or len(usable) <= most:
        return usable
    kept = set(random.Random(f"{seed}/reranker's questions").sample(range(len(usable)), most))
    return [question for row, question in enumerate(usable) if row in kept]


def load_dev(folder: Path, sets: Sequence[Sequence[QAPair]]) -> list[list[Asked]]:
    """The development questions that `build` wrote into `folder`, with what the first stage found for them.

    Args:
        sets: People's questions and the synthetic ones.
    """
    written = json.loads((folder / "dev.json").read_text("utf-8"))
    return [
        [
            (question, tuple((chunk_id, score) for chunk_id, score in rankings[question.id]))
            for question in questions
            if question.id in rankings
        ]
        for questions, rankings in zip(sets, written, strict=True)
    ]
