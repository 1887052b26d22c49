"""Sequences end to end in one row, without padding: linear layers see the row, attention each sequence by itself.

transformers hands a mask of four dimensions to the attention function as it is. One of integers is taken here for the
lengths of a row's sequences; any other mask is the business of torch's attention, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from raglift.models.causal_attention import causal_attention
from raglift.models.shared_prefix import NOT_PLAIN, windowed

NAME = "raglift_padding_free"
"""Under which transformers knows the attention function."""
_TRIAL = (5, 3, 6)
"""Tokens of the sequences that a model is tried with."""
_FAR = {torch.float32: 1e-3, torch.float64: 1e-3}
_FAR_IN_HALF_PRECISION = 0.2


def as_mask(lengths: Sequence[int]) -> Tensor:
    """What stands for the attention mask of a row of sequences of these lengths, (1, 1, 1, sequences), always on the
    processor."""
    return torch.tensor(lengths, dtype=torch.int32).view(1, 1, 1, -1)


def lengths_of(mask: Tensor | None) -> list[int] | None:
    """The lengths that `as_mask` was given; None of any other mask."""
    if mask is None or mask.dim() != 4 or mask.dtype != torch.int32:
        return None
    found: list[int] = mask.flatten().tolist()
    return found


def padding_free_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers' `AttentionInterface`.

    Args:
        query: (1, heads, tokens, head width); `key` and `value`: (1, key-value heads, tokens, head width).

    Raises:
        ValueError: The model wants more of its attention than this, or the lengths are not the row's.
    """
    lengths = lengths_of(attention_mask)
    if lengths is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if not causal or any(kwargs.get(name) is not None for name in NOT_PLAIN):
        raise ValueError("not a plain causal attention")
    if len(query) != 1 or query.shape[2] != sum(lengths) or key.shape[2] != sum(lengths):
        raise ValueError("the lengths are not those of the row's sequences")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type != "cpu" or dropout:
        return _one_by_one(query, key, value, lengths, scale, dropout), None
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (states.to(torch.get_autocast_dtype("cpu")) for states in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        return causal_attention(query[0], key[0], value[0], lengths, scale).unsqueeze(0), None


def _one_by_one(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, dropout: float) -> Tensor:
    """(1, tokens, heads, width), by torch's own attention."""
    attend, shared = nn.functional.scaled_dot_product_attention, query.shape[1] != key.shape[1]
    parts = zip(*(torch.split(states, lengths, dim=2) for states in (query, key, value)), strict=True)
    found = [
        attend(own, keys, values, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=shared)
        for own, keys, values in parts
    ]
    return torch.cat(found, dim=2).transpose(1, 2)


AttentionInterface.register(NAME, padding_free_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def enabled(model: nn.Module) -> bool:
    """Whether `enable` was called for the model, or for the one that it wraps, and found it able."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None) == NAME


def enable(model: PreTrainedModel) -> bool:
    """Let the model take sequences that lie end to end, if it can; whether it can.

    It can if its attention is a plain one that may be taken over, and in a trial each of three sequences gets the same
    as alone, whatever stands before it. All else that is done with the model stays as it was.
    """
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    able = all(getattr(part, "_supports_attention_backend", False) for part in parts) and not windowed(model)
    if not able or any(part.config._attn_implementation != "sdpa" for part in parts):
        return False
    for part in parts:
        part.config._attn_implementation = NAME
    try:
        able = _trial(model)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        able = False
    if not able:
        for part in parts:
            part.config._attn_implementation = "sdpa"
    return able


@torch.no_grad()
def _trial(model: PreTrainedModel) -> bool:
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    # From all over the vocabulary: its first tokens are often ones that no training has met.
    ids = torch.arange(1, 1 + sum(_TRIAL), device=model.device).unsqueeze(0) * 7919 % model.config.vocab_size
    other = torch.cat([ids[:, : _TRIAL[0]].roll(1, dims=1), ids[:, _TRIAL[0] :]], dim=1)
    places = torch.cat([torch.arange(length) for length in _TRIAL]).unsqueeze(0).to(ids.device)
    training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    try:
        alone = [decoder(input_ids=part, use_cache=False).last_hidden_state for part in ids.split(_TRIAL, dim=1)]
        expected = torch.cat(alone, dim=1).float()
        found, moved = (
            decoder(
                input_ids=row, attention_mask=as_mask(_TRIAL), position_ids=places, use_cache=False
            ).last_hidden_state.float()
            for row in (ids, other)
        )
    finally:
        model.train(training)
    far = (found - expected).norm() / expected.norm()
    leaked = (found - moved)[:, _TRIAL[0] :].abs().max() / expected.std()
    return bool(far < _FAR.get(model.dtype, _FAR_IN_HALF_PRECISION) and leaked < _FAR[torch.float32])
