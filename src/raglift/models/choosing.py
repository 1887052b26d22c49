"""Which token a row writes next: the likeliest, or one drawn with the row's own seed, among those allowed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import torch
from torch import Tensor

Choose = Callable[[Tensor, Sequence[int], Sequence[list[int]]], list[int]]
"""(logits of shape (n, vocabulary), the n rows they belong to, what every row has written) -> a token each."""
Allowed = Callable[[int, list[int]], list[int]]
"""(row, what it has written) -> the tokens that may follow."""
_LIKELIEST = 50
"""Tokens among which one is drawn at most."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue a prompt: greedily, or sampled at a temperature with a seed; `line` stops at a line end.

    `until` stops after the first occurrence of a character, which stays in the text.
    A token is drawn from the 50 likeliest, and of those from the fewest that hold `top_p` of their probability.
    """

    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0
    line: bool = False
    until: str = ""


def row_seed(seed: int, ids: Sequence[int], time: int, sample: int) -> int:
    """The seed of a row, by what it reads and how often that was asked before, not by its neighbours in the batch."""
    text = json.dumps([seed, list(ids), time, sample])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def chooser(sampling: Sampling, seeds: Sequence[int], allowed: Allowed | None = None) -> Choose:
    """What chooses the tokens of a batch.

    Args:
        seeds: A row's own seed, for every row; not read where the choice is greedy.
        allowed: The tokens that may come next; all, if it is None.
    """
    draws = [random.Random(seed) for seed in seeds]

    def choose(logits: Tensor, rows: Sequence[int], written: Sequence[list[int]]) -> list[int]:
        if allowed is not None:
            logits = _only(logits, [allowed(row, written[row]) for row in rows])
        if sampling.temperature <= 0:
            # Over bfloat16 torch's argmax takes five times as long as its max.
            return logits.max(dim=-1).indices.tolist()
        return _draw(logits, sampling, [draws[row].random() for row in rows])

    return choose


def recording(choose: Choose, sums: list[float], silent: AbstractSet[int]) -> Choose:
    """Chooses the same, and adds to a row's sum the log-probability that the model itself gave to its token.

    Args:
        sums: A number a row.
        silent: Tokens that do not count: those of line ends, which are no part of a text.
    """

    def chosen(logits: Tensor, rows: Sequence[int], written: Sequence[list[int]]) -> list[int]:
        tokens = choose(logits, rows, written)
        scores = logits.float()
        picked = scores.gather(1, torch.tensor(tokens, device=scores.device).unsqueeze(1)).squeeze(1)
        for row, token, value in zip(rows, tokens, (picked - scores.logsumexp(dim=-1)).tolist(), strict=True):
            sums[row] += 0.0 if token in silent else value
        return tokens

    return chosen


def _only(logits: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    rows = torch.tensor([row for row, ids in enumerate(tokens) for _ in ids], device=logits.device)
    columns = torch.tensor([token for ids in tokens for token in ids], device=logits.device)
    held = torch.full_like(logits, float("-inf"))
    held[rows, columns] = logits[rows, columns]
    return held


def _draw(logits: Tensor, sampling: Sampling, points: Sequence[float]) -> list[int]:
    best = logits.topk(min(_LIKELIEST, logits.shape[-1]), dim=-1)
    shares = torch.softmax(best.values.double() / sampling.temperature, dim=-1)
    before = shares.cumsum(dim=-1) - shares
    shares = torch.where(before < sampling.top_p, shares, 0.0)
    sums = shares.cumsum(dim=-1)
    aim = torch.tensor(points, dtype=sums.dtype, device=sums.device).unsqueeze(1) * sums[:, -1:]
    place = (sums <= aim).sum(dim=-1, keepdim=True).clamp(max=sums.shape[1] - 1)
    return best.indices.gather(1, place).squeeze(1).tolist()
