"""Whatever puts passages in order, from its folder."""

from __future__ import annotations

from pathlib import Path

from raglift.models.device import Runtime
from raglift.models.query_likelihood import load_likelihood_reranker
from raglift.models.reranker import CrossEncoderReranker, Reranker, is_language_model, load_reranker


def open_reranker(base: Path, runtime: Runtime, tuned: Path | None = None) -> Reranker:
    """A language model by the likelihood of questions; everything else as a cross-encoder, see `load_reranker`.

    Raises:
        UserError: The model cannot be a reranker.
    """
    if is_language_model(base):
        return load_likelihood_reranker(base, runtime)
    return CrossEncoderReranker(load_reranker(base, runtime, tuned), runtime)
