"""Batches of (query, passage) pairs, with hard negatives where there are any, without false negatives in a batch."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from raglift.models.encoder import Role, features
from raglift.models.flattened import flattened, takes_flattened
from raglift.training.columns import Columns


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the passage that answers it; `chunk_id` names the passage, by its text where it is no chunk.

    `negatives` are texts of passages that do not answer it, the hardest first, and `negative_ids` name them. The first
    `given` of them are said to be wrong by whoever made the pair, and stay however much they are like its passage.
    `spared` names the chunks that are not to be held wrong for the query: right ones, and too likely right ones.
    `also` names the other passages of a query with several, each of which has a pair of its own.
    `scores` are a teacher's, of the passage and then of each of the negatives; empty where none was asked.
    """

    query: str
    passage: str
    chunk_id: str
    negatives: tuple[str, ...] = ()
    negative_ids: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    given: int = 0


def passages_by_id(pairs: Iterable[Pair]) -> dict[str, str]:
    """The texts of the pairs' passages and negatives, by the names that they have there."""
    return {
        name: text
        for pair in pairs
        for name, text in ((pair.chunk_id, pair.passage), *zip(pair.negative_ids, pair.negatives, strict=True))
    }


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
    them is left out, and none stands twice; against one that is `given` its own query has no say. Columns may therefore
    be shorter than the batch, and empty ones are gone.
    Which pairs share a batch does not depend on their hard negatives.

    Args:
        rows: The pairs of one batch.
        similar: Chunk id -> ids of the chunks that repeat much of it.
    """
    return [[text for _, text in column] for column in _hard_places(rows, similar)]


Place = tuple[int, str]
"""A hard negative in a column: the row of its query, and its text."""


def _hard_places(rows: Sequence[Pair], similar: Mapping[str, AbstractSet[str]]) -> list[list[Place]]:
    """`hard_columns` with the row of each text's query."""
    spared = [
        {chunk_id for own in (pair.chunk_id, *pair.also, *pair.spared) for chunk_id in (own, *similar.get(own, ()))}
        for pair in rows
    ]
    by_any = set[str]().union(*spared)

    def stays(row: int, rank: int) -> bool:
        name = rows[row].negative_ids[rank]
        if name not in by_any:
            return True
        others = (found for place, found in enumerate(spared) if place != row)
        return rank < rows[row].given and not any(name in found for found in others)

    present = {pair.passage for pair in rows}
    columns: list[list[Place]] = []
    for rank in range(max((len(pair.negatives) for pair in rows), default=0)):
        column = []
        for row, pair in enumerate(rows):
            if rank < len(pair.negatives) and stays(row, rank):
                if pair.negatives[rank] not in present:
                    column.append((row, pair.negatives[rank]))
                present.add(pair.negatives[rank])
        columns.append(column)
    return [column for column in columns if column]


def _own_places(rows: Sequence[Pair]) -> list[list[Place]]:
    """The hard negatives of a batch where each is compared with its own query alone: none is left out."""
    ranks = range(max((len(pair.negatives) for pair in rows), default=0))
    return [[(row, p.negatives[rank]) for row, p in enumerate(rows) if rank < len(p.negatives)] for rank in ranks]


class PairBatches:
    """`Batches` of preprocessed columns for the embedding objectives: queries, passages, then any hard negatives.

    Args:
        in_batch: Whether a query is compared with the passages of the other pairs too; where it is not, no hard
            negative is left out for their sake.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        similar: Mapping[str, AbstractSet[str]],
        model: SentenceTransformer,
        batch_size: int,
        seed: int,
        in_batch: bool = True,
    ) -> None:
        self._in_batch = in_batch
        self._pairs = pairs
        self._similar = similar
        self._model = model
        self._flat = takes_flattened(model)
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

    def batch(self, epoch: int, index: int) -> Columns:
        """Columns of features: B queries with the model's query prompt, B passages with its passage prompt, then
        columns of at most B hard negatives each."""
        packed = self._packed(epoch)
        rows = [self._pairs[row] for row in packed[index % len(packed)]]
        hard = _hard_places(rows, self._similar) if self._in_batch else _own_places(rows)
        texts = [[pair.query for pair in rows], [pair.passage for pair in rows]]
        texts += [[text for _, text in column] for column in hard]
        roles: list[Role] = ["query", *["passage"] * (len(texts) - 1)]  # type: ignore[list-item]
        found = [self._features(column, role) for column, role in zip(texts, roles, strict=True)]
        device = self._model.device
        owners = [torch.tensor([row for row, _ in column], device=device) for column in hard]
        scores = None if self._in_batch else _scores(rows, 1 + len(hard), device)
        return Columns(found, texts, owners, scores)

    def _features(self, texts: list[str], role: Role) -> dict[str, Any]:
        found, device = features(self._model, texts, role), self._model.device
        found = flattened(self._model, found) if self._flat else found
        return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in found.items()}


def _scores(rows: Sequence[Pair], width: int, device: torch.device) -> Tensor | None:
    """What a teacher found, (B, width); None where it was asked about no pair."""
    if not any(pair.scores for pair in rows):
        return None
    padded = [[*pair.scores, *[math.nan] * (width - len(pair.scores))] for pair in rows]
    return torch.tensor(padded, dtype=torch.float32, device=device)
