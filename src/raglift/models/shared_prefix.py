"""Attention of many rows to one prefix whose keys and values are kept once, not once a row.

A row's queries meet the prefix in the same matrix product as every other row's, and its own keys in one of its own; a
single softmax goes over both. What a batch moves through memory for a token no longer grows with rows times prefix.

References:
    Juravsky et al. 2024, "Hydragen: High-Throughput LLM Inference with Shared Prefixes".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, PreTrainedModel

NAME = "raglift_shared_prefix"
"""Under which transformers knows the attention function."""
NOT_PLAIN = ("softcap", "s_aux", "sliding_window", "position_bias", "attention_chunk_size")
"""What some models ask of an attention function beyond the plain one."""
_WINDOWS = ("sliding_window", "attention_chunk_size", "chunk_size")
_PROBE = 4
"""Tokens of the prefix, and of what follows it, that a model is tried with."""
_FAR = {torch.float32: 1e-3, torch.float64: 1e-3}
_FAR_IN_HALF_PRECISION = 0.2


@dataclass(frozen=True)
class Prefix:
    """Tokens and their keys and values, a pair a layer, each of shape (key-value heads, tokens, head width)."""

    ids: tuple[int, ...] = ()
    layers: tuple[tuple[Tensor, Tensor], ...] = ()


class SharedCache(Cache):
    """The rows' own keys and values in memory that is taken once, beside a prefix that they share.

    Args:
        prefix: What stands before every row.
        rows: Most rows there will be.
        columns: Most tokens that a row will have of its own, with its padding.
    """

    def __init__(self, prefix: Prefix, rows: int, columns: int) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.own: list[tuple[Tensor, Tensor]] = []
        self._shape = (rows, columns)
        self._rows = slice(0, rows)
        self._columns = slice(0, columns)

    def window(self, rows: slice, columns: slice) -> None:
        """Say which rows the next forward pass reads and writes, and up to which column it does so."""
        self._rows, self._columns = rows, columns

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Write the last columns of the window; keys and values of the whole window."""
        if layer_idx == len(self.own):
            self.own.append((self._room(key_states), self._room(value_states)))
        size = key_states.shape[2]
        for kept, new in zip(self.own[layer_idx], (key_states, value_states), strict=True):
            kept[self._rows, :, self._columns.stop - size : self._columns.stop] = new
        if size == self._columns.stop - self._columns.start:
            return key_states, value_states
        return tuple(kept[self._rows, :, self._columns] for kept in self.own[layer_idx])

    def _room(self, states: Tensor) -> Tensor:
        # A processor multiplies the many tiny matrices of single tokens faster in float32.
        small = states.device.type == "cpu" and states.dtype == torch.bfloat16
        # Zeros, since what is never written has no weight in the attention but would still make NaN of it.
        shape = (self._shape[0], states.shape[1], self._shape[1], states.shape[3])
        return states.new_zeros(shape, dtype=torch.float32 if small else states.dtype)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the next one, the prefix among them."""
        return len(self.prefix.ids) + self._columns.stop

    def keep(self, order: Sequence[int]) -> None:
        """Put row `order[i]` in the place of row `i`; rows that stay where they are cost nothing."""
        places = [place for place, row in enumerate(order) if place != row]
        if places:
            self.own = [(_moved(keys, order, places), _moved(values, order, places)) for keys, values in self.own]

    def spread(self, copies: int, columns: int) -> None:
        """Each row `copies` times in a row, of which the first `columns` columns are filled."""
        self._shape = (self._shape[0] * copies, self._shape[1])
        self.own = [
            (self._spread(keys, copies, columns), self._spread(values, copies, columns)) for keys, values in self.own
        ]

    def _spread(self, states: Tensor, copies: int, columns: int) -> Tensor:
        room = self._room(states)
        room[:, :, :columns] = states[:, :, :columns].repeat_interleave(copies, dim=0)
        return room


def _moved(states: Tensor, order: Sequence[int], places: list[int]) -> Tensor:
    states[places] = states[[order[place] for place in places]]
    return states


class _Active(threading.local):
    cache: SharedCache | None = None


_ACTIVE = _Active()


class _TakenOver:
    """The configs that name our attention function: what they named before, and for how many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, tuple[Any, str, int]] = {}

    def take(self, configs: Sequence[Any]) -> None:
        with self._lock:
            for config in configs:
                _, before, holders = self._held.get(id(config), (config, config._attn_implementation, 0))
                self._held[id(config)] = config, before, holders + 1
                config._attn_implementation = NAME

    def give_back(self, configs: Sequence[Any]) -> None:
        with self._lock:
            for config in configs:
                _, before, holders = self._held.pop(id(config))
                if holders > 1:
                    self._held[id(config)] = config, before, holders - 1
                else:
                    config._attn_implementation = before


_TAKEN_OVER = _TakenOver()


@contextmanager
def attending(model: nn.Module, cache: SharedCache) -> Iterator[None]:
    """Forward passes in the block attend to the cache's prefix too; each thread to its own cache's."""
    configs = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    _TAKEN_OVER.take(configs)
    _ACTIVE.cache = cache
    try:
        yield
    finally:
        _ACTIVE.cache = None
        _TAKEN_OVER.give_back(configs)


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers' `AttentionInterface`.

    Args:
        query: (rows, heads, tokens, head width); `key` and `value`: (rows, key-value heads, own columns, head width).
        attention_mask: (rows, 1, tokens, own columns), added to the scores of the rows' own keys.

    Raises:
        ValueError: The model wants more of its attention than this.
    """
    if any(kwargs.get(name) is not None for name in NOT_PLAIN) or _ACTIVE.cache is None:
        raise ValueError("not a plain attention")
    rows, heads, tokens, width = query.shape
    groups, columns = key.shape[1:3]
    scaled = query * (width**-0.5 if scaling is None else scaling)
    # The heads that share keys and values are rows of one product.
    scaled = scaled.reshape(rows, groups, heads // groups * tokens, width)
    own = scaled.to(key.dtype) @ key.transpose(2, 3)
    own = (own.view(rows, groups, -1, tokens, columns) + attention_mask.unsqueeze(1)).view(own.shape)
    if _ACTIVE.cache.prefix.ids:
        found = _with_prefix(scaled, own, value, *_ACTIVE.cache.prefix.layers[module.layer_idx])  # type: ignore[index]
    else:
        found = torch.softmax(own, dim=-1).to(value.dtype) @ value
    found = found.reshape(rows, heads, tokens, value.shape[-1]).transpose(1, 2)
    return found.to(query.dtype), None


def _with_prefix(scaled: Tensor, own: Tensor, value: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(rows, groups, queries, head width): one softmax over the prefix and the rows' own columns."""
    rows, groups, queries, width = scaled.shape
    size = keys.shape[1]
    together = scaled.transpose(0, 1).reshape(groups, rows * queries, width)
    shared = (together @ keys.transpose(1, 2)).view(groups, rows, queries, size).transpose(0, 1)
    weights = torch.softmax(torch.cat([shared, own], dim=-1), dim=-1)
    on_prefix = weights[..., :size].transpose(0, 1).reshape(groups, rows * queries, size).to(values.dtype)
    found = (on_prefix @ values).view(groups, rows, queries, -1).transpose(0, 1)
    return found + weights[..., size:].to(value.dtype) @ value


AttentionInterface.register(NAME, shared_prefix_attention)


def windowed(model: nn.Module) -> bool:
    """Whether some layer of the model sees only a part of what stands before a token."""
    for config in [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]:
        kinds = getattr(config, "layer_types", None)
        if kinds is not None and set(kinds) != {"full_attention"}:
            return True
        cut = any(getattr(config, name, None) for name in _WINDOWS)
        if kinds is None and cut and getattr(config, "use_sliding_window", True):
            return True
    return False


def can_share(model: PreTrainedModel) -> bool:
    """Whether the model's attention can be taken over: it says so, has no windows, and a trial gives the same.

    The trial passes a few tokens through the model as it is, and through the shared prefix.
    """
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    if not parts or not all(getattr(part, "_supports_attention_backend", False) for part in parts) or windowed(model):
        return False
    try:
        return _trial(model)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return False


@torch.inference_mode()
def _trial(model: PreTrainedModel) -> bool:
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    device = model.device
    # From all over the vocabulary: its first tokens are often ones that no training has met.
    ids = torch.arange(1, 1 + 2 * _PROBE, device=device).unsqueeze(0) * 7919 % model.config.vocab_size
    expected = decoder(input_ids=ids, use_cache=False).last_hidden_state[:, _PROBE:].float()
    cache = SharedCache(Prefix(), 1, _PROBE)
    _pass(decoder, cache, ids[:, :_PROBE])
    layers = tuple((keys[0].to(model.dtype), values[0].to(model.dtype)) for keys, values in cache.own)
    shared = SharedCache(Prefix(tuple(range(_PROBE)), layers), 1, _PROBE)
    found = _pass(decoder, shared, ids[:, _PROBE:]).float()
    far = (found - expected).std() / expected.std()
    return bool(far < _FAR.get(model.dtype, _FAR_IN_HALF_PRECISION))


def _pass(decoder: Any, cache: SharedCache, ids: Tensor) -> Tensor:
    size = ids.shape[1]
    start = len(cache.prefix.ids)
    mask = torch.full((1, 1, size, size), float("-inf"), device=ids.device, dtype=decoder.dtype).triu(1)
    with attending(decoder, cache):
        output = decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=torch.arange(start, start + size, device=ids.device).unsqueeze(0),
            past_key_values=cache,
            use_cache=True,
        )
    hidden: Tensor = output.last_hidden_state
    return hidden
