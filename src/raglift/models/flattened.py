"""Several texts laid end to end in one row, without padding, for training an encoder on the processor.

sentence-transformers lays texts so for flash attention on a GPU, and its modules read such batches: `input_ids` of
shape (1, all tokens), `position_ids` that begin anew with each text, and `cu_seq_lens_q`, where each text begins. What
the processor lacks is attention that keeps to the texts; it is here. Linear layers and norms see no padding, and
attention costs each text what its own length asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "raglift_flattened"
"""The attention's name among transformers' own; it is not written into a saved model."""
_BOUNDS = "cu_seq_lens_q"
_TRIAL = ("trial", "a trial of another length", "the third one of these trials is the longest of them")
_FAR = 1e-4


def flatten_inputs(model: SentenceTransformer) -> bool:
    """Have an encoder take flattened texts, where it can: it then does so and takes padded ones as before.

    It can if it lets others compute its attention, needs no mask where nothing is padded (no windows, no causal order,
    no bias by position) and gives a few texts the same vectors flattened as padded; that is tried.

    Args:
        model: A model in float32 on the processor.

    Returns:
        Whether it can.
    """
    inner = _encoder(model)
    if inner is None or model.device.type != "cpu" or not inner.is_backend_compatible():
        return False
    before = inner.config._attn_implementation
    try:
        inner.set_attn_implementation(ATTENTION)
        if _same(model):
            return True
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        pass
    inner.set_attn_implementation(before)
    return False


def takes_flattened(model: nn.Module) -> bool:
    """Whether `flatten_inputs` has prepared the model."""
    inner = _encoder(model)
    return inner is not None and inner.config._attn_implementation == ATTENTION


def flattened(model: SentenceTransformer, features: dict[str, Any]) -> dict[str, Any]:
    """A padded batch without its padding, as a model takes it that `flatten_inputs` has prepared.

    A batch with an empty row, which nothing would be left of, is given back as it is.
    """
    mask = features["attention_mask"].bool()
    lengths = mask.sum(dim=1)
    if not bool(lengths.all()):
        return features
    found = {
        key: value[mask].unsqueeze(0) if isinstance(value, Tensor) and value.shape == mask.shape else value
        for key, value in features.items()
        if key != "attention_mask"
    }
    places = mask.cumsum(dim=1)[mask] - 1 + _first_position(model)
    bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    return {**found, "position_ids": places.unsqueeze(0), _BOUNDS: bounds}


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
    found = {key: value[:, first:last] if _of_tokens(value) else value for key, value in features.items()}
    return {**found, _BOUNDS: bounds - bounds[0]}


def _of_tokens(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention within each of the texts that `cu_seq_lens_q` parts, or torch's own where none does.

    Args:
        query: (1, heads, all tokens, width); keys and values likewise.

    Returns:
        (1, all tokens, heads, width).

    Raises:
        ValueError: The model asks for a mask or a bias beside flattened texts.
    """
    bounds = kwargs.get(_BOUNDS)
    if bounds is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
        return output, None
    if attention_mask is not None or kwargs.get("position_bias") is not None or kwargs.get("sliding_window"):
        raise ValueError("flattened texts take no mask and no bias by position")
    lengths = bounds.diff().tolist()
    texts = zip(*(found.split(lengths, dim=2) for found in (query, key, value)), strict=True)
    parts = [sdpa_attention_forward(module, *text, None, dropout, scaling)[0] for text in texts]
    return torch.cat(parts, dim=1), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


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
    training, padded = model.training, model.preprocess(list(_TRIAL))
    flat = flattened(model, dict(padded))
    model.eval()
    try:
        with torch.inference_mode():
            expected, found = (model(dict(batch))["sentence_embedding"].float() for batch in (padded, flat))
    finally:
        model.train(training)
    return bool((found - expected).std() < _FAR * expected.std())
