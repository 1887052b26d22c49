"""The highest block of a language model, computed only where logits are wanted.

Keys and values are needed of every position, but queries, the output of the attention and the feed-forward layer only
where a token is learned, which in a prompt with its answer is a few of hundreds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from raglift.training.parameters import block_list
from raglift.training.stand_in import hidden_of, standing_in

_OF_POSITIONS = ("position_ids", "position_embeddings", "cache_position")
"""What a block is given for every position."""
_WITHOUT_MASK = ("eager", "flash", "flex")
"""Parts of the names of attentions that must be told in another way what a query sees."""
_TRIAL = ((0, 0, 0, 5, 9, 4, 7, 8), (11, 12, 13, 14, 15, 16, 17, 18))
"""Token ids of two rows, of which the first is padded by zeros."""
_FAR, _FAR_IN_HALF_PRECISION = 1e-3, 0.05


def narrow_last_block(model: PreTrainedModel) -> Callable[[], None]:
    """Have a language model in training mode compute its highest block for `logits_to_keep` alone; gives back what ends
    that.

    Nothing happens to a model whose blocks are called in a way of their own, which a trial finds out.
    """
    try:
        last = LastBlock(model)
        able = last.agrees()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        able = False
    if not able:
        return lambda: None
    vars(model)["forward"] = last
    return lambda: vars(model).pop("forward", None)


class LastBlock:
    """Stands in the place of a language model's `forward`.

    Args:
        model: One whose blocks take a cache of keys and values and are called by keywords, as Llama's are.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._block = block_list(model)[1][-1]
        self._forward: Callable[..., Any] = model.forward
        self.__signature__ = inspect.signature(model.forward)

    def __call__(self, *args: Any, logits_to_keep: int | Tensor = 0, **kwargs: Any) -> Any:
        """What the model says."""
        if not self._model.training or (isinstance(logits_to_keep, int) and not logits_to_keep):
            return self._forward(*args, logits_to_keep=logits_to_keep, **kwargs)
        return self._narrowed(*args, logits_to_keep=logits_to_keep, **kwargs)

    def _narrowed(self, *args: Any, logits_to_keep: int | Tensor, **kwargs: Any) -> Any:
        with standing_in([self._block], partial(self._part, logits_to_keep, self._block.forward)):
            return self._forward(*args, logits_to_keep=logits_to_keep, **kwargs)

    def agrees(self) -> bool:
        """Whether the logits are those of the whole block, tried on two rows of which one is padded."""
        ids = torch.tensor(_TRIAL, device=self._model.device) % int(self._model.config.vocab_size)
        mask = torch.tensor(_TRIAL, device=self._model.device).ne(0).long()
        kept = torch.tensor([5, 7], device=ids.device)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        training = self._model.training
        self._model.train(False)
        try:
            with torch.no_grad():
                expected = self._forward(**inputs, logits_to_keep=kept, use_cache=False).logits.float()
                found = self._narrowed(**inputs, logits_to_keep=kept, use_cache=False).logits.float()
        finally:
            self._model.train(training)
        far = _FAR if self._model.dtype == torch.float32 else _FAR_IN_HALF_PRECISION
        return bool((found - expected).norm() <= far * expected.norm())

    def _part(self, wanted: int | Tensor, block: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The block's output at the wanted positions, zeros elsewhere."""
        hidden = hidden_of(args, kwargs)
        length = hidden.shape[1]
        places = wanted if isinstance(wanted, Tensor) else torch.arange(length, device=hidden.device)[-wanted:]
        mask = self._mask(kwargs, places, length)
        if len(args) > 1 or 2 * len(places) > length or mask is None or kwargs.get("past_key_values") is not None:
            return block(*args, **kwargs)
        kwargs.pop("hidden_states", None)
        seen = _Seen()
        try:
            block(hidden, **kwargs | {"past_key_values": seen})
        except _EnoughError:
            given = {name: _at(kwargs[name], places) for name in _OF_POSITIONS if name in kwargs}
            part = block(hidden[:, places], **kwargs | given | {"attention_mask": mask, "past_key_values": seen})
            return part.new_zeros(*hidden.shape[:2], part.shape[2]).index_copy(1, places, part)
        raise ValueError("the block takes no cache of keys and values")

    def _mask(self, kwargs: Mapping[str, Any], places: Tensor, length: int) -> Tensor | None:
        """What the wanted positions see, as the attention takes it; None where that cannot be told."""
        mask, order = kwargs.get("attention_mask"), kwargs.get("position_ids")
        columns = torch.arange(length, device=places.device)
        before = places[:, None] >= columns
        if mask is None:
            plain = not any(name in str(self._model.config._attn_implementation) for name in _WITHOUT_MASK)
            following = order is not None and bool((order.diff(dim=1) == 1).all())
            return before[None, None] if plain and following else None
        if not isinstance(mask, Tensor) or mask.ndim != 4:
            return None
        if mask.dtype == torch.int32:  # the lengths of sequences that lie end to end
            lengths = mask.flatten().to(columns.device)
            owner = torch.repeat_interleave(torch.arange(len(lengths), device=columns.device), lengths)
            return (before & (owner[places][:, None] == owner))[None, None]
        return mask[:, :, places] if mask.shape[2] == length else None


class _EnoughError(Exception):
    """The keys and values are known, and nothing else of the call is wanted."""


class _Seen:
    """Stands for a cache: the first call leaves its keys and values here, the second one is given them."""

    def __init__(self) -> None:
        self._kept: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Those of all positions, whichever are given after the first call."""
        if self._kept is None:
            self._kept = keys, values
            raise _EnoughError
        return self._kept


def _at(value: Any, places: Tensor) -> Any:
    """What is given for some of the positions: of (B, L, ...), of a tuple of such, or of (L,)."""
    if isinstance(value, tuple):
        return tuple(_at(each, places) for each in value)
    if not isinstance(value, Tensor):
        return value
    return value[places] if value.ndim == 1 else value[:, places]
