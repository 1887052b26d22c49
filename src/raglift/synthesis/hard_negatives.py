"""Hard negatives: passages that the base index takes for the answer to a question, and that are wrong.

References:
    Moreira et al. 2024, "NV-Retriever: Improving text embedding models with effective hard-negative mining" (section
    4: a passage that scores above a share of the positive's score, 95% by default, is likely right and left out).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from raglift.artifacts import write_json
from raglift.config import EmbeddingConfig
from raglift.corpus.stage import Corpus
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.records import Chunk, QAPair
from raglift.synthesis.training_sets import embedding_pairs, load, save
from raglift.synthesis.words import holds
from raglift.training.pairs import Pair, asked

VERSION = 2
_DEPTH = 100
_BLOCK = 256


class Miner:
    """Chooses the hard negatives of pairs.

    Args:
        questions: Those that pairs are made of: what answers one of them answers all that ask the same.
        count: Most negatives a pair, those that it was given among them.
        ceiling: Share of the positive's score that no negative may exceed.
        given: Further pairs, whose passages may be no chunks; their passages too answer all that ask the same.
    """

    def __init__(
        self, corpus: Corpus, questions: Sequence[QAPair], count: int, ceiling: float, given: Sequence[Pair] = ()
    ) -> None:
        self._corpus = corpus
        self._count = count
        self._ceiling = ceiling
        self._chunks = {chunk.id: chunk for chunk in corpus.chunks}
        self._asked: defaultdict[str, list[QAPair]] = defaultdict(list)
        for question in questions:
            self._asked[asked(question.question)].append(question)
        self._passages: defaultdict[str, set[str]] = defaultdict(set)
        for pair in given:
            self._passages[asked(pair.query)].add(pair.chunk_id)

    def mine(self, pair: Pair, ranking: Ranking) -> Pair:
        """The pair with its hard negatives, and with what else of the ranking must not be held wrong.

        Negatives stand past the positive, below the ceiling, and do not answer the question; where the positive is not
        in the ranking at all, nothing is known to stand past it, and there are none. Negatives that the pair has stay,
        and stand first.
        """
        right = self._right(pair)
        limit: float | None = None
        negatives = list(pair.negative_ids)
        spared = set(right)
        for chunk_id, score in ranking:
            if chunk_id in pair.negative_ids:
                continue
            if chunk_id == pair.chunk_id:
                limit = min(score, self._ceiling * score)
            elif self._corpus.split_of[self._chunks[chunk_id].document_id] != "train":
                continue  # what is held out trains nothing, not even as a wrong answer
            elif limit is None or score > limit or chunk_id in right or self._answers(pair, self._chunks[chunk_id]):
                spared.add(chunk_id)
            elif len(negatives) < self._count and not self._repeats(chunk_id, negatives):
                negatives.append(chunk_id)
        mined = [self._corpus.text_of[chunk_id] for chunk_id in negatives[len(pair.negatives) :]]
        texts = (*pair.negatives, *mined)
        return replace(pair, negatives=texts, negative_ids=tuple(negatives), spared=tuple(sorted(spared)))

    def _right(self, pair: Pair) -> set[str]:
        """The evidence of all that ask the same, and what repeats it."""
        evidence = {item.chunk_id for question in self._asked[asked(pair.query)] for item in question.evidence}
        own = {chunk_id for chunk_id in evidence if chunk_id} | {pair.chunk_id} | self._passages[asked(pair.query)]
        return own.union(*(self._corpus.similar.get(chunk_id, ()) for chunk_id in own))

    def _answers(self, pair: Pair, chunk: Chunk) -> bool:
        if chunk.text == pair.passage:
            return True
        for question in self._asked[asked(pair.query)]:
            if any(holds(chunk.text, answer) for answer in question.answers):
                return True
            for item in question.evidence:
                overlaps = chunk.start < item.end and item.start < chunk.end
                if item.document_id == chunk.document_id and (item.chunk_id is None or overlaps):
                    return True
        return False

    def _repeats(self, chunk_id: str, others: Sequence[str]) -> bool:
        same = self._corpus.similar.get(chunk_id, set())
        text = self._corpus.text_of[chunk_id]
        return any(other in same or self._corpus.text_of.get(other) == text for other in others)


def build(
    settings: EmbeddingConfig,
    corpus: Corpus,
    questions: Sequence[QAPair],
    encoder: Encoder,
    store: FaissStore,
    job: Job,
    given: Sequence[Pair] = (),
) -> None:
    """Write the dataset `pairs` (with negatives, their ids, and what is spared) and funnel.json.

    Args:
        questions: The synthetic questions of every split; those of the train split make the pairs.
        encoder: The base embedding model.
        store: The base index.
        given: Pairs that stand beside these. What is mined for them stands past their own passage in the base index,
            so that one whose passage is no chunk keeps the negatives that it has.
    """
    trained = [question for question in questions if question.split == "train"]
    pairs = [*embedding_pairs(trained, corpus), *given]
    miner = Miner(corpus, trained, settings.hard_negatives, settings.hard_negative_ceiling, given)
    found: list[Pair] = []
    with job.display.stage("mining hard negatives", len(pairs), "pairs") as bar:
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            vectors = encoder.encode([pair.query for pair in block], "query")
            for pair, ranking in zip(block, dense_rankings(store, vectors, _DEPTH), strict=True):
                found.append(miner.mine(pair, ranking))
                bar.advance()
    save_pairs(found, job.out / "pairs")
    counts = {
        "hard negatives": sum(len(pair.negatives) for pair in found),
        "pairs without a hard negative": sum(not pair.negatives for pair in found),
    }
    funnel = [{"stage": "hard negatives", "reason": reason, "count": count} for reason, count in counts.items()]
    write_json(job.out / "funnel.json", funnel)


def save_pairs(pairs: Sequence[Pair], folder: Path) -> None:
    """Write the pairs as a dataset; a column that is empty in all of them would change the bytes of every set."""
    rows = [asdict(pair) for pair in pairs]
    for column in ("also", "scores", "given"):
        if not any(row[column] for row in rows):
            for row in rows:
                del row[column]
    save(rows, folder)


def load_pairs(folder: Path) -> list[Pair]:
    """The pairs that `build` wrote into `folder`."""
    return [
        Pair(
            row["query"],
            row["passage"],
            row["chunk_id"],
            tuple(row["negatives"]),
            tuple(row["negative_ids"]),
            tuple(row["spared"]),
            tuple(row.get("also", ())),
            tuple(row.get("scores", ())),
            row.get("given", 0),
        )
        for row in load(folder, "pairs")
    ]
