"""Language models that take sequences end to end in one row: linear layers see the row, attention each by itself."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from raglift.models.end_to_end import NAME, as_mask
from raglift.models.shared_prefix import windowed

_TRIAL = (5, 3, 6)
"""Tokens of the sequences that a model is tried with."""
_FAR = {torch.float32: 1e-3, torch.float64: 1e-3}
_FAR_IN_HALF_PRECISION = 0.2


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
