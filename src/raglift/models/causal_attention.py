"""Causal attention of sequences that lie end to end in one row, each to itself alone, quick to train on a processor.

torch's fused kernel for the processor multiplies small tiles at a tenth of the rate of a large matrix product. Here the
heads that share keys and values are rows of one product, and a block of queries meets only the keys that it may see.
Probabilities are kept for the backward pass while they are small beside what else is kept, and computed again where a
sequence is long, as Dao et al. do it.

References:
    Dao et al. 2022, "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", algorithm 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_BLOCK = 128
"""Queries that are taken at once."""
_KEPT = 512
"""Tokens of the longest sequence whose probabilities are kept."""


def causal_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float) -> Tensor:
    """Causal attention within each of the sequences.

    Args:
        query: (heads, tokens, width); `key` and `value`: (key-value heads, tokens, width), of the same dtype.
        lengths: Tokens of each sequence, in their order; they sum to the row's.
        scale: On the scores.

    Returns:
        (tokens, heads, width)
    """
    found: Tensor = _CausalAttention.apply(query, key, value, tuple(lengths), scale)  # type: ignore[no-untyped-call]
    return found


def _blocks(lengths: Sequence[int]) -> Iterator[tuple[slice, slice, int]]:
    """Queries of each block, the keys that they see, and the length of their sequence."""
    start = 0
    for length in lengths:
        for first in range(start, start + length, _BLOCK):
            last = min(first + _BLOCK, start + length)
            yield slice(first, last), slice(start, last), length
        start += length


def _later(states: Tensor) -> Tensor:
    """What is added to the scores of a block's own keys, (queries, keys)."""
    return torch.full((_BLOCK, _BLOCK), float("-inf"), dtype=states.dtype, device=states.device).triu_(1)


def _probabilities(rows: Tensor, keys: Tensor, size: int, later: Tensor) -> Tensor:
    """(groups, rows, keys): the last `size` keys are those of the queries' own places."""
    scores = torch.bmm(rows, keys.transpose(1, 2))
    scores.view(len(keys), -1, size, keys.shape[1])[..., -size:].add_(later[:size, :size])
    return torch.softmax(scores, dim=-1)


def _rows(grouped: Tensor, places: slice) -> Tensor:
    """Of (tokens, groups, heads of a group, width): (groups, heads of a group * places, width)."""
    part = grouped[places]
    return part.permute(1, 2, 0, 3).reshape(part.shape[1], -1, part.shape[3])


def _back(rows: Tensor, like: Tensor) -> Tensor:
    """`_rows` undone; `like` has the wanted shape."""
    size, groups, heads, width = like.shape
    return rows.view(groups, heads, size, width).permute(2, 0, 1, 3)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:
        tokens, groups = query.shape[1], len(key)
        grouped = query.transpose(0, 1).reshape(tokens, groups, -1, query.shape[2])
        found = query.new_empty(*grouped.shape[:3], value.shape[2])
        kept, later = [], _later(key)
        for places, seen, length in _blocks(lengths):
            size = places.stop - places.start
            weights = _probabilities(_rows(grouped, places) * scale, key[:, seen], size, later)
            found[places] = _back(torch.bmm(weights, value[:, seen]), found[places])
            if length <= _KEPT:
                kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.lengths, ctx.scale = lengths, scale
        return found.flatten(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        tokens, groups = query.shape[1], len(key)
        grouped = query.transpose(0, 1).reshape(tokens, groups, -1, query.shape[2])
        gradient = gradient.reshape(*grouped.shape[:3], value.shape[2])
        on_query = torch.empty_like(grouped)
        # Blocks add to the same keys: in float32 at least, so that many small terms are not lost.
        exact = torch.promote_types(key.dtype, torch.float32)
        on_key, on_value = (torch.zeros(states.shape, dtype=exact, device=key.device) for states in (key, value))
        probabilities, later = iter(kept), _later(key)
        for places, seen, length in _blocks(ctx.lengths):
            rows, above = _rows(grouped, places) * ctx.scale, _rows(gradient, places)
            if length <= _KEPT:
                weights = next(probabilities)
            else:
                weights = _probabilities(rows, key[:, seen], places.stop - places.start, later)
            on_value[:, seen] += torch.bmm(weights.transpose(1, 2), above)
            on_weights = torch.bmm(above, value[:, seen].transpose(1, 2))
            on_scores = torch._softmax_backward_data(on_weights, weights, -1, weights.dtype)
            on_query[places] = _back(torch.bmm(on_scores, key[:, seen]) * ctx.scale, on_query[places])
            on_key[:, seen] += torch.bmm(on_scores.transpose(1, 2), rows)
        return on_query.flatten(1, 2).transpose(0, 1), on_key.to(key.dtype), on_value.to(value.dtype), None, None
