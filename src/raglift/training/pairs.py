"""Batches of (query, passage) pairs without false negatives inside a batch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from raglift.models.encoder import role_prompt


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the passage that answers it; `chunk_id` names the passage."""

    query: str
    passage: str
    chunk_id: str


def pack(
    pairs: Sequence[Pair], similar: Mapping[str, AbstractSet[str]], batch_size: int, rng: random.Random
) -> list[list[int]]:
    """Rows of `pairs` in shuffled batches in which every pair's passage is wrong for every other pair's query.

    Two pairs never meet if they share a passage, if one passage repeats much of the other's, or if they ask the same:
    in-batch negatives would push right answers away. A pair that fits nowhere sits the epoch out.

    Args:
        similar: Chunk id -> ids of the chunks that repeat much of it.
    """
    count = max(1, -(-len(pairs) // batch_size))
    capacity = -(-len(pairs) // count)
    order = list(range(len(pairs)))
    rng.shuffle(order)
    batches: list[list[int]] = [[] for _ in range(count)]
    taken: list[set[str]] = [set() for _ in range(count)]
    for position, row in enumerate(order):
        pair = pairs[row]
        asked = " ".join(pair.query.lower().split())
        for offset in range(count):
            at = (position + offset) % count
            if len(batches[at]) < capacity and pair.chunk_id not in taken[at] and asked not in taken[at]:
                batches[at].append(row)
                taken[at] |= {asked, pair.chunk_id, *similar.get(pair.chunk_id, ())}
                break
    return [batch for batch in batches if batch]


class PairBatches:
    """`Batches` of preprocessed columns for the embedding objectives: queries, then passages."""

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
        """Two columns of features: B queries with the model's query prompt, B passages with its passage prompt."""
        packed = self._packed(epoch)
        rows = [self._pairs[row] for row in packed[index % len(packed)]]
        return [
            self._features([pair.query for pair in rows], role_prompt(self._model, "query")),
            self._features([pair.passage for pair in rows], role_prompt(self._model, "passage")),
        ]

    def _features(self, texts: list[str], prompt: str) -> dict[str, Any]:
        features = self._model.preprocess(texts, prompt=prompt or None)
        device = self._model.device
        return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in features.items()}
