"""A LlamaIndex query engine that puts the question to the model exactly as in training."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import NodeWithScore

from raglift.evaluation.scale import TOKENS_IN, TOKENS_OUT
from raglift.index.retriever import LiftRetriever
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

    @property
    def in_batches(self) -> bool:
        """Whether `query_batch` gives what `query` does: a class made of this one may answer in a way of its own."""
        return inspect.unwrap(type(self).custom_query) is inspect.unwrap(LiftQueryEngine.custom_query)

    def custom_query(self, query_str: str) -> Response:
        """The answer, with the passages that were read as its source nodes.

        Its metadata count the prompt's and the answer's tokens (`tokens_in`, `tokens_out`); where the model wrote more
        than the answer, such as a quote, all of it is `written`.
        """
        return self.query_batch([query_str])[0]

    def query_batch(self, questions: Sequence[str]) -> list[Response]:
        """The answers to several questions, in order: encoded, searched and written side by side.

        In bfloat16 an answer can differ in a word from the one that the question gets alone.
        """
        found = self._found(questions)
        replies = self.llm.chat_batch([self._chat(*each) for each in zip(questions, found, strict=True)])
        return [self._response(reply, nodes) for reply, nodes in zip(replies, found, strict=True)]

    def _found(self, questions: Sequence[str]) -> list[list[NodeWithScore]]:
        if self.retriever is None:
            return [[] for _ in questions]
        if isinstance(self.retriever, LiftRetriever) and self.retriever.in_batches:
            return self.retriever.retrieve_batch(questions)
        return [self.retriever.retrieve(question) for question in questions]

    def _chat(self, question: str, nodes: Sequence[NodeWithScore]) -> list[ChatMessage]:
        turns = self.prompt.messages(question, [node.node.get_content() for node in nodes])
        return [ChatMessage(role=turn["role"], content=turn["content"]) for turn in turns]

    def _response(self, reply: ChatResponse, nodes: list[NodeWithScore]) -> Response:
        written = reply.message.content or ""
        answer, counts = self.prompt.read(written), reply.additional_kwargs
        told = {TOKENS_IN: counts["prompt_tokens"], TOKENS_OUT: counts["completion_tokens"]}
        more = {} if answer == written else {"written": written}
        return Response(response=answer, source_nodes=nodes, metadata=told | more)
