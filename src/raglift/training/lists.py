"""Batches of questions with their passages, right and wrong, for a cross-encoder."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import Tensor

from raglift.training.pairs import Pair
from raglift.training.token_runs import Run, runs_of

_WINDOW = 8
"""Batches are cut from windows of this many, sorted by length: little padding, still shuffled."""
_BLOCK = 256
"""Pairs that are tokenised at once."""


@dataclass(frozen=True, slots=True)
class Lists:
    """A batch of Q lists: N pairs of a question and a passage, the pairs of a list one after the other.

    Attributes:
        features: What the cross-encoder takes for the N pairs.
        owners: The list that a pair belongs to, (N,).
        places: Its place in the list, (N,).
        labels: 1.0 where the passage answers the question and 0.0 where it does not, (N,).
    """

    features: dict[str, Any]
    owners: Tensor
    places: Tensor
    labels: Tensor

    @property
    def known(self) -> Tensor:
        """Where `table` holds a pair, boolean of shape (Q, longest list)."""
        return self.table(torch.ones_like(self.labels)) > 0

    def table(self, values: Tensor) -> Tensor:
        """One row a list: values of the pairs, (N,), as (Q, longest list); 0 where a list is shorter."""
        rows, columns = int(self.owners.max()) + 1, int(self.places.max()) + 1
        return values.new_zeros(rows, columns).index_put((self.owners, self.places), values)


def lists_of(model: CrossEncoder, lists: Sequence[tuple[str, Sequence[str], Sequence[float]]]) -> Lists:
    """A batch on the model's device.

    Args:
        lists: Questions with their passages and the passages' labels.
    """
    pairs = [(question, text) for question, texts, _ in lists for text in texts]
    device = model.device
    features = {
        key: value.to(device) if isinstance(value, Tensor) else value for key, value in model.preprocess(pairs).items()
    }
    return Lists(
        features,
        torch.tensor([row for row, (_, texts, _) in enumerate(lists) for _ in texts], device=device),
        torch.tensor([place for _, texts, _ in lists for place in range(len(texts))], device=device),
        torch.tensor([label for _, _, labels in lists for label in labels], dtype=torch.float32, device=device),
    )


def scores_of(model: Any, batch: Lists) -> Tensor:
    """The model's scores of a batch's pairs, (N,), in float32 also under autocast."""
    scores: Tensor = model(dict(batch.features))["scores"]  # the model writes what it computes into the mapping
    return scores.view(-1).float()


class ListBatches:
    """`Batches` of lists, grouped by length: each question with its passage and its hard negatives."""

    def __init__(self, pairs: Sequence[Pair], model: CrossEncoder, batch_size: int, seed: int) -> None:
        self._pairs = pairs
        self._model = model
        self._size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._size)

    def batch(self, epoch: int, index: int) -> Lists:
        """Lists of at most `batch_size` questions, the right passage first in each."""
        rng = random.Random(f"{self._seed}/{epoch}")
        order = list(range(len(self._pairs)))
        rng.shuffle(order)
        window = self._size * _WINDOW
        for start in range(0, len(order), window):
            order[start : start + window] = sorted(order[start : start + window], key=self._length)
        batches = [order[start : start + self._size] for start in range(0, len(order), self._size)]
        rng.shuffle(batches)
        return lists_of(
            self._model,
            [
                (pair.query, (pair.passage, *pair.negatives), (1.0, *(0.0 for _ in pair.negatives)))
                for pair in (self._pairs[row] for row in batches[index])
            ],
        )

    def runs(self) -> Iterator[Run]:
        """The tokens of every pair of a question and a passage that a batch may hold."""
        asked = [(pair.query, text) for pair in self._pairs for text in (pair.passage, *pair.negatives)]
        for start in range(0, len(asked), _BLOCK):
            yield from runs_of(self._model.preprocess(asked[start : start + _BLOCK]))

    def _length(self, row: int) -> int:
        """Of the longest pair of texts, in characters."""
        pair = self._pairs[row]
        return len(pair.query) + max(len(text) for text in (pair.passage, *pair.negatives))
