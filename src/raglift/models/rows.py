"""The rows of a batch as a model reads them: prompts once, then a token each; rows that have ended are dropped.

All of it runs under `torch.inference_mode`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from raglift.models.shared_prefix import Prefix, SharedCache, attending

_SLICE_TOKENS = {"cpu": 512}
"""Tokens that are read in one forward pass: few enough for a processor's caches."""
_SLICE_TOKENS_ELSEWHERE = 16384
_SLICE_SCORES = 1 << 27
"""Attention scores that a layer may hold at once."""


class Rows(Protocol):
    """What a batch of rows can do. Logits have shape (rows, tokens, vocabulary), in the rows' order."""

    def read(self, encoded: Sequence[Sequence[int]], room: int, last: int = 1) -> Tensor:
        """The rows' prompts, none of them empty; logits of their `last` tokens, zeros where a row has no
        more. `room` tokens may follow."""
        ...

    def spread(self, copies: int) -> None:
        """Each row `copies` times in a row."""
        ...

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One more token a row; its logits."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Go on with the rows `order` only, in that order."""
        ...


def slices(lengths: Sequence[int], prefix: int, heads: int, device: torch.device) -> Iterator[slice]:
    """Runs of rows, longest row first, that are read in one forward pass."""
    start = 0
    while start < len(lengths):
        width = max(1, lengths[start])
        tokens = _SLICE_TOKENS.get(device.type, _SLICE_TOKENS_ELSEWHERE)
        count = max(1, min(tokens // width, _SLICE_SCORES // (width * (width + prefix) * heads)))
        yield slice(start, min(len(lengths), start + count))
        start += count


def accepts(model: Any, name: str) -> bool:
    """Whether a model's forward pass takes an argument of this name."""
    whole = model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model
    return name in inspect.signature(whole.forward).parameters


class SharedRows:
    """Rows beside one prefix whose keys and values are kept once; see `shared_prefix`."""

    def __init__(self, model: PreTrainedModel, prefix: Prefix) -> None:
        self._model = model
        self._prefix = prefix
        self._few = accepts(model, "logits_to_keep")

    def read(self, encoded: Sequence[Sequence[int]], room: int, last: int = 1) -> Tensor:
        """See `Rows`; the prompts are read slice by slice, each with the padding that it needs itself."""
        self._width = max(len(row) for row in encoded)
        self._filled = self._width
        self._cache = SharedCache(self._prefix, len(encoded), self._width + room)
        device = self._model.device
        lengths = torch.tensor([len(row) for row in encoded], device=device)
        columns = torch.arange(self._width + room, device=device)
        blind = columns < (self._width - lengths).unsqueeze(1)
        self._mask = torch.zeros(blind.shape, device=device, dtype=self._model.dtype).masked_fill_(blind, float("-inf"))
        self._next = len(self._prefix.ids) + lengths
        heads = int(getattr(self._model.config, "num_attention_heads", 1))
        parts = [
            self._read(encoded[rows], rows, last)
            for rows in slices([len(row) for row in encoded], len(self._prefix.ids), heads, device)
        ]
        widest = max(part.shape[1] for part in parts)
        return torch.cat([nn.functional.pad(part, (0, 0, widest - part.shape[1], 0)) for part in parts])

    def _read(self, encoded: Sequence[Sequence[int]], rows: slice, last: int) -> Tensor:
        width = max(len(row) for row in encoded)
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in encoded], device=self._model.device)
        padding = torch.tensor([width - len(row) for row in encoded], device=ids.device)
        columns = torch.arange(width, device=ids.device)
        causal = columns.unsqueeze(0) <= columns.unsqueeze(1)
        # Padding sees itself, so that its softmax is a number.
        seen = causal & ((columns >= padding[:, None, None]) | torch.eye(width, dtype=torch.bool, device=ids.device))
        mask = torch.zeros(seen.shape, device=ids.device, dtype=self._model.dtype).masked_fill_(~seen, float("-inf"))
        positions = (len(self._prefix.ids) + columns - padding.unsqueeze(1)).clamp(min=0)
        self._cache.window(rows, slice(self._width - width, self._width))
        return self._forward(ids, mask.unsqueeze(1), positions, last)

    @property
    def own(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of what the rows have read, a pair a layer: (rows, heads, columns, width)."""
        return self._cache.own

    def spread(self, copies: int) -> None:
        """See `Rows`."""
        if copies > 1:
            self._cache.spread(copies, self._width)
            self._mask = self._mask.repeat_interleave(copies, dim=0)
            self._next = self._next.repeat_interleave(copies)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows`."""
        self._filled += 1
        self._cache.window(slice(0, len(tokens)), slice(0, self._filled))
        ids = torch.tensor(tokens, device=self._model.device).unsqueeze(1)
        logits = self._forward(ids, self._mask[:, None, None, : self._filled], self._next.unsqueeze(1), 1)
        self._next = self._next + 1
        return logits

    def keep(self, order: Sequence[int]) -> None:
        """See `Rows`."""
        self._cache.keep(order)
        index = torch.tensor(order, device=self._mask.device)
        self._mask, self._next = self._mask[index], self._next[index]

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, last: int) -> Tensor:
        few = {"logits_to_keep": last} if self._few else {}
        with attending(self._model, self._cache):
            logits: Tensor = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                **few,
            ).logits
        return logits[:, -last:]


def extend(model: PreTrainedModel, prefix: Prefix, ids: Sequence[int]) -> Prefix:
    """The prefix with more tokens behind it: their keys and values are computed in one forward pass."""
    if not ids:
        return prefix
    rows = SharedRows(model, prefix)
    rows.read([ids], 0)
    own = [(keys[0].to(model.dtype), values[0].to(model.dtype)) for keys, values in rows.own]
    before = prefix.layers or [(keys[:, :0], values[:, :0]) for keys, values in own]
    layers = tuple(
        (torch.cat([old_keys, keys], dim=1), torch.cat([old_values, values], dim=1))
        for (old_keys, old_values), (keys, values) in zip(before, own, strict=True)
    )
    return Prefix((*prefix.ids, *ids), layers)


class RepeatedRows:
    """Rows for models whose attention cannot be taken over: the prefix's keys and values are copied for every row.

    Args:
        before: Tokens of the prefix, and the cache of a single row that has read them.
    """

    def __init__(self, model: PreTrainedModel, before: tuple[Sequence[int], DynamicCache]) -> None:
        self._model = model
        self._head, self._kept = before
        self._few = accepts(model, "logits_to_keep")
        self._positions = accepts(model, "position_ids")

    def read(self, encoded: Sequence[Sequence[int]], room: int, last: int = 1) -> Tensor:
        """See `Rows`."""
        width = max(len(row) for row in encoded)
        device = self._model.device
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in encoded], device=device)
        padding = torch.tensor([width - len(row) for row in encoded], device=device)
        self._mask = torch.cat(
            [
                ids.new_ones(len(encoded), len(self._head)),
                (torch.arange(width, device=device) >= padding[:, None]).long(),
            ],
            1,
        )
        self._cache = copy.deepcopy(self._kept)
        if self._head:
            self._cache.batch_repeat_interleave(len(encoded))
        return self._forward(ids, last)

    def spread(self, copies: int) -> None:
        """See `Rows`."""
        if copies > 1:
            self._cache.batch_repeat_interleave(copies)
            self._mask = self._mask.repeat_interleave(copies, dim=0)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows`."""
        ids = torch.tensor(tokens, device=self._mask.device).unsqueeze(1)
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        return self._forward(ids, 1)

    def keep(self, order: Sequence[int]) -> None:
        """See `Rows`."""
        if list(order) == list(range(len(self._mask))):
            return
        index = torch.tensor(order, device=self._mask.device)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]

    def _forward(self, ids: Tensor, last: int) -> Tensor:
        options: dict[str, Any] = {"logits_to_keep": last} if self._few else {}
        if self._positions:
            options["position_ids"] = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits: Tensor = self._model(
            input_ids=ids, attention_mask=self._mask, past_key_values=self._cache, use_cache=True, **options
        ).logits
        return logits[:, -last:]


def read_once(model: PreTrainedModel, ids: Sequence[int]) -> DynamicCache:
    """The cache of a single row that has read `ids`."""
    cache = DynamicCache(config=model.config)
    if ids:
        model(input_ids=torch.tensor([list(ids)], device=model.device), past_key_values=cache, use_cache=True)
    return cache
