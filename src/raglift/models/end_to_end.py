"""Attention of sequences that lie end to end in one row, without padding: each sequence by itself.

transformers hands a mask of four dimensions to the attention function as it is. One of integers is taken here for the
lengths of a row's sequences; any other mask is the business of torch's attention, as ever. `padding_free` has language
models take such rows, `flattened` encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from raglift.models.causal_attention import causal_attention
from raglift.models.shared_prefix import NOT_PLAIN
from raglift.models.text_attention import text_attention

NAME = "raglift_end_to_end"
"""Under which transformers knows the attention function; it is not written into a saved model."""
_MORE = tuple(name for name in NOT_PLAIN if name != "sliding_window")
"""What some models ask of an attention function beyond causal order and windows."""


def as_mask(lengths: Sequence[int]) -> Tensor:
    """What stands for the attention mask of a row of sequences of these lengths, (1, 1, 1, sequences), always on the
    processor."""
    return torch.tensor(lengths, dtype=torch.int32).view(1, 1, 1, -1)


def lengths_of(mask: Any) -> list[int] | None:
    """The lengths that `as_mask` was given; None of any other mask, or of what stands for one."""
    if not isinstance(mask, Tensor) or mask.dim() != 4 or mask.dtype != torch.int32:
        return None
    found: list[int] = mask.flatten().tolist()
    return found


def end_to_end_attention(
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

    Returns:
        (1, tokens, heads, head width), and no weights.

    Raises:
        ValueError: The model wants more of its attention than this, or the lengths are not the row's.
    """
    lengths = lengths_of(attention_mask)
    if lengths is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
        return output, None
    if any(kwargs.get(name) is not None for name in _MORE):
        raise ValueError("not a plain attention")
    if len(query) != 1 or query.shape[2] != sum(lengths) or key.shape[2] != sum(lengths):
        raise ValueError("the lengths are not those of the row's sequences")
    causal, window = kwargs.get("is_causal"), kwargs.get("sliding_window")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    window = window if window is not None and window < max(lengths) else None
    grouped = query.shape[1] != key.shape[1]
    if query.device.type != "cpu" or dropout or window is not None or (grouped and not causal):
        options = {"dropout": dropout, "scaling": scaling, "is_causal": causal}
        return _one_by_one(module, (query, key, value), lengths, window, **options), None
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (states.to(torch.get_autocast_dtype("cpu")) for states in (query, key, value))
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    attend = causal_attention if causal else text_attention
    with torch.autocast("cpu", enabled=False):
        return attend(query[0], key[0], value[0], lengths, scale).unsqueeze(0), None


def _one_by_one(
    module: nn.Module, states: Sequence[Tensor], lengths: list[int], window: int | None, **options: Any
) -> Tensor:
    """(1, tokens, heads, width), by torch's own attention."""
    parts = zip(*(torch.split(each, lengths, dim=2) for each in states), strict=True)
    found = [
        sdpa_attention_forward(module, own, keys, values, _band(own, options["is_causal"], window), **options)[0]
        for own, keys, values in parts
    ]
    return torch.cat(found, dim=1)


def _band(query: Tensor, causal: bool, window: int | None) -> Tensor | None:
    """What each token of a sequence may see, (1, 1, length, length): nothing that is `window` tokens away or more."""
    if window is None:
        return None
    places = torch.arange(query.shape[2], device=query.device)
    behind = places.unsqueeze(1) - places
    seen = behind.abs() < window
    return (seen & (behind >= 0) if causal else seen)[None, None]


AttentionInterface.register(NAME, end_to_end_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
