"""Several texts laid end to end in one row, without padding, for training an encoder on the processor.

sentence-transformers lays texts so for flash attention on a GPU, and its modules read such batches: `input_ids` of
shape (1, all tokens), `position_ids` that begin anew with each text, and `cu_seq_lens_q`, where each text begins. What
the processor lacks is attention that keeps to the texts; it is that of `end_to_end`. Linear layers and norms see no
padding, and attention costs each text what its own length asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import PreTrainedModel

from raglift.models.end_to_end import NAME, as_mask

_BOUNDS, _MASK = "cu_seq_lens_q", "attention_mask"
_TRIAL = ("trial", "a trial of another length", "this one is as long as the windows of attention ")
_LONGEST = 1024
"""Tokens of the longest text of a trial, which windows must not escape."""
_FAR = 1e-4


def flatten_inputs(model: SentenceTransformer) -> bool:
    """Have an encoder take flattened texts, where it can: it then does so and takes padded ones as before.

    It can if it lets others compute its attention, wants no more of it than causal order and windows, and gives a few
    texts the same vectors flattened as padded; that is tried.

    Args:
        model: A model in float32 on the processor.

    Returns:
        Whether it can.
    """
    inner = _encoder(model)
    if inner is None or model.device.type != "cpu" or not inner._supports_attention_backend:
        return False
    before = inner.config._attn_implementation
    try:
        inner.set_attn_implementation(NAME)
        if _same(model):
            return True
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        pass
    inner.set_attn_implementation(before)
    return False


def takes_flattened(model: nn.Module) -> bool:
    """Whether `flatten_inputs` has prepared the model."""
    inner = _encoder(model)
    return inner is not None and inner.config._attn_implementation == NAME


def flattened(model: SentenceTransformer, features: dict[str, Any]) -> dict[str, Any]:
    """A padded batch without its padding, as a model takes it that `flatten_inputs` has prepared.

    A batch with an empty row, which nothing would be left of, is given back as it is.
    """
    mask = features[_MASK].bool()
    lengths = mask.sum(dim=1)
    if not bool(lengths.all()):
        return features
    found = {
        key: value[mask].unsqueeze(0) if isinstance(value, Tensor) and value.shape == mask.shape else value
        for key, value in features.items()
        if key != _MASK
    }
    places = mask.cumsum(dim=1)[mask] - 1 + _first_position(model)
    bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    return {**found, "position_ids": places.unsqueeze(0), _BOUNDS: bounds, _MASK: as_mask(lengths.tolist())}


def rows_of(features: Mapping[str, Any]) -> int:
    """How many texts a batch of features holds, flattened or padded."""
    if _BOUNDS in features:
        return len(features[_BOUNDS]) - 1
    return len(next(value for value in features.values() if isinstance(value, Tensor)))


def part_of(features: Mapping[str, Any], kept: slice) -> dict[str, Any]:
    """The features of some texts of a batch that follow one another."""
    rows = rows_of(features)
    if _BOUNDS not in features:
        return {
            key: value[kept] if isinstance(value, Tensor) and value.ndim and len(value) == rows else value
            for key, value in features.items()
        }
    bounds = features[_BOUNDS][kept.start : kept.stop + 1]
    first, last = bounds[[0, -1]].tolist()
    found = {
        key: value[:, first:last] if isinstance(value, Tensor) and value.ndim == 2 else value
        for key, value in features.items()
    }
    return {**found, _BOUNDS: bounds - bounds[0], _MASK: as_mask(bounds.diff().tolist())}


def _encoder(model: nn.Module) -> PreTrainedModel | None:
    """The transformers model of a plain sentence-transformers encoder of texts; None for others."""
    if not isinstance(model, SentenceTransformer) or not all(
        type(module) in (Transformer, Pooling, Normalize, Dense) for module in model
    ):
        return None
    first: Any = model[0]
    if type(first) is not Transformer or first.transformer_task != "feature-extraction":
        return None
    inner = first.model.get_base_model() if hasattr(first.model, "get_base_model") else first.model
    return inner if isinstance(inner, PreTrainedModel) else None


def _first_position(model: SentenceTransformer) -> int:
    """The position of a text's first token: models of RoBERTa's family count from behind their padding token."""
    for module in model.modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
            return padding + 1
    return 0


def _same(model: SentenceTransformer) -> bool:
    times = min(model.max_seq_length or _LONGEST, _LONGEST) // 8
    training, padded = model.training, model.preprocess([*_TRIAL[:-1], _TRIAL[-1] * max(1, times)])
    flat = flattened(model, dict(padded))
    model.eval()
    try:
        with torch.no_grad():
            expected, found = (model(dict(batch))["sentence_embedding"].float() for batch in (padded, flat))
    finally:
        model.train(training)
    return bool((found - expected).std() < _FAR * expected.std())
