"""A LlamaIndex query engine that puts the question to the model exactly as in training."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import CustomQueryEngine

from raglift.models.llm import LiftLLM


class LiftQueryEngine(CustomQueryEngine):
    """Retrieve, render with the run's prompt approach, answer.

    LlamaIndex's own response synthesizers word the prompt themselves; a model tuned on one wording and served another
    loses part of what it learned.

    Example:
        >>> engine = raglift.open_run("quickstart").query_engine("tuned_both")
        >>> response = engine.query("How do I stop a loop early?")
        >>> str(response), response.source_nodes[0].node.metadata["source"]
    """

    retriever: BaseRetriever | None
    llm: LiftLLM
    prompt: Any

    def custom_query(self, query_str: str) -> Response:
        """The answer, with the passages that were read as its source nodes.

        Where the model wrote more than the answer, such as a quote, all of it is `metadata["written"]`.
        """
        nodes = self.retriever.retrieve(query_str) if self.retriever is not None else []
        messages = self.prompt.messages(query_str, [node.node.get_content() for node in nodes])
        reply = self.llm.chat([ChatMessage(role=m["role"], content=m["content"]) for m in messages])
        written = reply.message.content or ""
        answer = self.prompt.read(written)
        more = {} if answer == written else {"written": written}
        return Response(response=answer, source_nodes=nodes, metadata=more)
