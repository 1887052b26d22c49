"""Attention of texts that lie end to end in one row, each to itself alone, quick to train on a processor.

torch's fused kernel for the processor works in tiles that are too small for its matrix units. A text of an encoder is
short: its scores fit the caches whole, so that plain matrix products over all heads are faster, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_KEPT = 512
"""Tokens of the longest text whose probabilities are kept for the backward pass; those of longer ones are computed
again, since they would outgrow what else is kept."""


def text_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float) -> Tensor:
    """Softmax attention within each of the texts, in both directions.

    Args:
        query: (heads, tokens, width); `key` and `value` likewise, of the same dtype.
        lengths: Tokens of each text, in their order; they sum to the row's.
        scale: On the scores.

    Returns:
        (tokens, heads, width)
    """
    found: Tensor = _TextAttention.apply(query * scale, key, value, tuple(lengths))  # type: ignore[no-untyped-call]
    return found


def _places(lengths: Sequence[int]) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


class _TextAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
        found = query.new_empty(query.shape[1], query.shape[0], value.shape[2])
        kept = []
        for at in _places(lengths):
            weights = torch.softmax(torch.bmm(query[:, at], key[:, at].transpose(1, 2)), dim=-1)
            found[at] = torch.bmm(weights, value[:, at]).transpose(0, 1)
            if at.stop - at.start <= _KEPT:
                kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.lengths = lengths
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        probabilities = iter(kept)
        above = gradient.transpose(0, 1)
        found = [torch.empty_like(states) for states in (query, key, value)]
        for at in _places(ctx.lengths):
            if at.stop - at.start <= _KEPT:
                weights = next(probabilities)
            else:
                weights = torch.softmax(torch.bmm(query[:, at], key[:, at].transpose(1, 2)), dim=-1)
            on_weights = torch.bmm(above[:, at], value[:, at].transpose(1, 2))
            on_scores = torch._softmax_backward_data(on_weights, weights, -1, weights.dtype)
            found[0][:, at] = torch.bmm(on_scores, key[:, at])
            found[1][:, at] = torch.bmm(on_scores.transpose(1, 2), query[:, at])
            found[2][:, at] = torch.bmm(weights.transpose(1, 2), above[:, at])
        return (*found, None)
