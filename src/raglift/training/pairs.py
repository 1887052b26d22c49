"""Batches of (query, passage) pairs, with hard negatives where there are any, without false negatives in a batch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from raglift.models.encoder import Role, features


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the passage that answers it; `chunk_id` names the passage.

    `negatives` are texts of passages that do not answer it, the hardest first, and `negative_ids` their chunks.
    `spared` names the chunks that are not to be held wrong for the query: right ones, and too likely right ones.
    `also` names the other passages of a query with several, each of which has a pair of its own.
    """

    query: str
    passage: str
    chunk_id: str
    negatives: tuple[str, ...] = ()
    negative_ids: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def asked(query: str) -> str:
    """What two queries share that ask the same: their words whatever case and white space."""
    return " ".join(query.lower().split())


def pack(
    pairs: Sequence[Pair], similar: Mapping[str, AbstractSet[str]], batch_size: int, rng: random.Random
) -> list[list[int]]:
    """Rows of `pairs` in shuffled batches in which every pair's passage is wrong for every other pair's query.

    Two pairs never meet if they share a passage, if one passage repeats much of the other's or is right for the other
    too, or if they ask the same: in-batch negatives would push right answers away. A pair that fits
    nowhere sits the epoch out.

    Args:
        similar: Chunk id -> ids of the chunks that repeat much of it.
    """
    count = max(1, -(-len(pairs) // batch_size))
    capacity = -(-len(pairs) // count)
    order = list(range(len(pairs)))
    rng.shuffle(order)
    batches: list[list[int]] = [[] for _ in range(count)]
    taken: list[set[str]] = [set() for _ in range(count)]
    present: list[set[str]] = [set() for _ in range(count)]
    for position, row in enumerate(order):
        pair = pairs[row]
        question = asked(pair.query)
        also = {own for other in pair.also for own in (other, *similar.get(other, ()))}
        for offset in range(count):
            at = (position + offset) % count
            meets = {pair.chunk_id, question} & taken[at] or also & present[at]
            if len(batches[at]) < capacity and not meets:
                batches[at].append(row)
                taken[at] |= {question, pair.chunk_id, *similar.get(pair.chunk_id, ()), *also}
                present[at].add(pair.chunk_id)
                break
    return [batch for batch in batches if batch]


def hard_columns(rows: Sequence[Pair], similar: Mapping[str, AbstractSet[str]]) -> list[list[str]]:
    """The hard negatives of a batch: the first of every pair, then the second of every pair, and so on.

    Every passage of a batch is wrong for all of its queries but its own, so a negative that must be spared by one of
    them is left out, and none stands twice. Columns may therefore be shorter than the batch, and empty ones are gone.
    Which pairs share a batch does not depend on their hard negatives.

    Args:
        rows: The pairs of one batch.
        similar: Chunk id -> ids of the chunks that repeat much of it.
    """
    spared = {
        chunk_id for pair in rows for own in (pair.chunk_id, *pair.spared) for chunk_id in (own, *similar.get(own, ()))
    }
    present = {pair.passage for pair in rows}
    columns: list[list[str]] = []
    for rank in range(max((len(pair.negatives) for pair in rows), default=0)):
        column = []
        for pair in rows:
            if rank < len(pair.negatives) and pair.negative_ids[rank] not in spared:
                if pair.negatives[rank] not in present:
                    column.append(pair.negatives[rank])
                present.add(pair.negatives[rank])
        columns.append(column)
    return [column for column in columns if column]


class PairBatches:
    """`Batches` of preprocessed columns for the embedding objectives: queries, passages, then any hard negatives."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        similar: Mapping[str, AbstractSet[str]],
        model: SentenceTransformer,
        batch_size: int,
        seed: int,
    ) -> None:
        self._pairs = pairs
        self._similar = similar
        self._model = model
        self._size = batch_size
        self._seed = seed
        self._epochs: dict[int, list[list[int]]] = {}
        self._length = min(len(self._packed(epoch)) for epoch in range(4))

    def _packed(self, epoch: int) -> list[list[int]]:
        if epoch not in self._epochs:
            rng = random.Random(f"{self._seed}/{epoch}")
            self._epochs[epoch] = pack(self._pairs, self._similar, self._size, rng)
        return self._epochs[epoch]

    def __len__(self) -> int:
        return self._length

    def batch(self, epoch: int, index: int) -> list[dict[str, Any]]:
        """Columns of features: B queries with the model's query prompt, B passages with its passage prompt, then
        columns of at most B hard negatives each."""
        packed = self._packed(epoch)
        rows = [self._pairs[row] for row in packed[index % len(packed)]]
        passages = [[pair.passage for pair in rows], *hard_columns(rows, self._similar)]
        return [
            self._features([pair.query for pair in rows], "query"),
            *(self._features(column, "passage") for column in passages),
        ]

    def _features(self, texts: list[str], role: Role) -> dict[str, Any]:
        found, device = features(self._model, texts, role), self._model.device
        return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in found.items()}
