"""Any LlamaIndex embedding with a head above it, which needs the embedding's vectors and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field, PrivateAttr
from torch import Tensor

from raglift.models.head import Head


class HeadedEmbedding(BaseEmbedding):
    """A LlamaIndex embedding, local or behind an API, whose vectors a head moves; all are of unit length.

    With a head on the queries alone (`head.sides == "query"`) passages keep their vectors, so that an index that was
    built with the embedding stays as it is.

    Args:
        base: The embedding; it is asked as it always is, with its own batches, retries and cache.
        head: What moves its vectors.
        dev: What the head was chosen by: candidate -> score; empty where it was loaded.

    Example:
        >>> headed = raglift.tune_head(embedding, [("How do I stop a loop early?", "The break statement ...")])
        >>> index.as_retriever(embed_model=headed)
    """

    base: BaseEmbedding
    dev: dict[str, float] = Field(default_factory=dict)
    _head: Head = PrivateAttr()

    def __init__(self, base: BaseEmbedding, head: Head, dev: dict[str, float] | None = None, **kwargs: Any) -> None:
        usual = {"model_name": f"{base.model_name}+head", "embed_batch_size": base.embed_batch_size}
        super().__init__(base=base, dev=dev or {}, **(usual | kwargs))
        self._head = head.eval().requires_grad_(False)

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises the component."""
        return "HeadedEmbedding"

    @property
    def head(self) -> Head:
        """What moves the vectors."""
        return self._head

    def save(self, folder: str | Path) -> None:
        """Write the head, config.json and model.safetensors, into a folder; the embedding is not part of it."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._head.save(str(folder))

    @classmethod
    def load(cls, base: BaseEmbedding, folder: str | Path) -> HeadedEmbedding:
        """The embedding with the head that `save` wrote."""
        return cls(base, Head.load(str(folder), local_files_only=True))

    def _moved(self, vectors: Sequence[Sequence[float]], query: bool) -> list[list[float]]:
        unit: Tensor = torch.nn.functional.normalize(torch.tensor(vectors, dtype=torch.float32), dim=1)
        with torch.no_grad():
            moved: list[list[float]] = (
                self._head.moved(unit) if query or self._head.sides == "both" else unit
            ).tolist()
        return moved

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._moved([self.base.get_query_embedding(query)], query=True)[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._moved([await self.base.aget_query_embedding(query)], query=True)[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._moved([self.base.get_text_embedding(text)], query=False)[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._moved([await self.base.aget_text_embedding(text)], query=False)[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._moved(self.base.get_text_embedding_batch(texts), query=False)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._moved(await self.base.aget_text_embedding_batch(texts), query=False)
