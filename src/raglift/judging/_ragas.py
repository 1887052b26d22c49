"""LlamaIndex models in the form that ragas' collections take; ragas is imported by `ragas_metrics` before."""

from __future__ import annotations

from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from pydantic import BaseModel
from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM

Reply = TypeVar("Reply", bound=BaseModel)


class StructuredLLM(InstructorBaseRagasLLM):
    """A language model whose replies are read as the model of the answer that ragas asks for."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def generate(self, prompt: str, response_model: type[Reply]) -> Reply:
        """The reply, by the model's own structured output where it has one, else parsed as JSON."""
        found: Any = self.llm.as_structured_llm(response_model).complete(prompt).raw
        return _checked(found, response_model)

    async def agenerate(self, prompt: str, response_model: type[Reply]) -> Reply:
        """`generate`, awaited."""
        found: Any = (await self.llm.as_structured_llm(response_model).acomplete(prompt)).raw
        return _checked(found, response_model)


def _checked(found: Any, response_model: type[Reply]) -> Reply:
    return found if isinstance(found, response_model) else response_model.model_validate(found)


class Embedding(BaseRagasEmbedding):
    """An embedding model; ragas compares texts with texts, so that all are encoded as passages."""

    def __init__(self, embedding: BaseEmbedding) -> None:
        super().__init__()
        self.embedding = embedding

    def embed_text(self, text: str, **kwargs: Any) -> list[float]:
        """The vector of a text."""
        return self.embedding.get_text_embedding(text)

    async def aembed_text(self, text: str, **kwargs: Any) -> list[float]:
        """`embed_text`, awaited."""
        return await self.embedding.aget_text_embedding(text)
