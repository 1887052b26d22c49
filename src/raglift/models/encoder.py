"""Texts to vectors: the one path that training's dev scores, index building and serving share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from raglift.models import quiet as quiet
from raglift.models.device import Runtime

Role = Literal["query", "passage"]
_PROMPT_NAMES: dict[Role, tuple[str, ...]] = {"query": ("query",), "passage": ("document", "passage")}


def load_encoder(path: Path, runtime: Runtime) -> SentenceTransformer:
    """A sentence-transformers model in float32 on the run's device, from safetensors, without remote code."""
    return SentenceTransformer(
        str(path),
        device=str(runtime.device),
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )


def role_prompt(model: SentenceTransformer, role: Role) -> str:
    """The prompt that the model was saved with for a query or a passage; empty where it has none."""
    prompts = model.prompts or {}
    return next((prompt for name in _PROMPT_NAMES[role] if (prompt := prompts.get(name))), "")


class Encoder:
    """Encodes texts with one model in one precision.

    Texts are sorted by length and batched by a budget of padded tokens, so that little is spent on padding; vectors
    are L2-normalised float32, so that their inner product is the cosine.

    Args:
        model: A float32 model; it is copied when the run's precision is another, and left as it is.
        runtime: Device and precision.
        batch_tokens: Padded tokens a batch.
    """

    def __init__(self, model: SentenceTransformer, runtime: Runtime, batch_tokens: int = 8192) -> None:
        if runtime.dtype != torch.float32:
            model = copy.deepcopy(model).to(runtime.dtype)
        self.model = model.eval()
        self.batch_tokens = batch_tokens

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def encode(
        self, texts: Sequence[str], role: Role, advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), in the order given.

        Args:
            role: Whether the texts are queries or passages; the model's prompt for it is put before each.
            advance: Told how many more texts are done.
        """
        prompt = role_prompt(self.model, role)
        lengths = self._lengths([prompt + text for text in texts])
        order = np.argsort(-lengths, kind="stable")
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        start = 0
        while start < len(order):
            size = max(1, self.batch_tokens // max(1, int(lengths[order[start]])))
            rows = order[start : start + size]
            vectors[rows] = self._forward([texts[row] for row in rows], prompt)
            start += size
            advance(len(rows))
        return vectors

    def _lengths(self, texts: list[str]) -> NDArray[np.int64]:
        limit = self.model.max_seq_length or 512
        if not texts:
            return np.zeros(0, dtype=np.int64)
        tokens = self.model.tokenizer(texts, truncation=True, max_length=limit, padding=False)["input_ids"]
        return np.array([len(ids) for ids in tokens], dtype=np.int64)

    def _forward(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        features = self.model.preprocess(texts, prompt=prompt or None)
        features = {k: v.to(self.model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        with torch.inference_mode():
            pooled = self.model(features)["sentence_embedding"].float()
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors
