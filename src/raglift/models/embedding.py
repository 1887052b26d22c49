"""An encoder as a LlamaIndex embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from raglift.models.encoder import Encoder
from raglift.models.query_memory import QueryMemory


class LiftEmbedding(BaseEmbedding):
    """A (tuned) sentence-transformers model behind LlamaIndex's interface.

    `model_name` carries the hash of the weights, so that a cache keyed by it never serves another checkpoint's
    vectors.

    Example:
        >>> embedding = raglift.open_run("quickstart").embedding("tuned_both")
        >>> len(embedding.get_query_embedding("How do I stop a loop early?"))
        384
    """

    _encoder: Encoder = PrivateAttr()
    _memory: QueryMemory = PrivateAttr()
    _source: Path = PrivateAttr()

    def __init__(self, encoder: Encoder, name: str, source: Path, **kwargs: Any) -> None:
        super().__init__(model_name=name, **kwargs)
        self._encoder = encoder
        self._memory = QueryMemory(encoder)
        self._source = source

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises the component."""
        return "LiftEmbedding"

    @property
    def encoder(self) -> Encoder:
        """The encoder underneath, for encoding many texts at once."""
        return self._encoder

    @property
    def memory(self) -> QueryMemory:
        """The encoder, with the vectors of the queries that it was asked for last."""
        return self._memory

    @property
    def source(self) -> Path:
        """The model's folder, which plain sentence-transformers loads too; or one with an adapter alone."""
        return self._source

    def _get_query_embedding(self, query: str) -> list[float]:
        return list(map(float, self._memory.encode([query], "query")[0]))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return list(map(float, self._encoder.encode([text], "passage")[0]))

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoder.encode(texts, "passage").tolist()
        return vectors
