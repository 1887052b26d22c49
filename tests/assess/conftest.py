"""Engines that do what a table says, and the questions that they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import Response
from llama_index.core.callbacks import CallbackManager
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode
from pydantic import Field

from raglift.progress import Progress

SETTINGS = {"retrieval": ["nDCG@10", "R@5"], "response": ["exact_match", "token_f1", "abstention"], "resamples": 200}
QUIET = Progress(quiet=True)

Retrieved = Sequence[str | TextNode]


def node(text: str = "", node_id: str = "", document: str = "", **metadata: Any) -> TextNode:
    found = TextNode(text=text, metadata=metadata)
    if node_id:
        found.id_ = node_id
    if document:
        found.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    return found


def _nodes(found: Retrieved) -> list[NodeWithScore]:
    nodes = [node(each, document=each) if isinstance(each, str) else each for each in found]
    return [NodeWithScore(node=each, score=1 / rank) for rank, each in enumerate(nodes, 1)]


class ScriptedRetriever(BaseRetriever):
    """Question -> ids of documents, or nodes; an exception is raised."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        super().__init__(CallbackManager([]))
        self.script, self.asked = script, list[str]()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle.query_str)
        found = self.script[query_bundle.query_str]
        if isinstance(found, BaseException):
            raise found
        return _nodes(found)


class ScriptedEngine(CustomQueryEngine):
    """Question -> answer, or (answer, what is retrieved); an exception is raised."""

    script: Any
    asked: list[str] = Field(default_factory=list)

    def custom_query(self, query_str: str) -> Response:
        self.asked.append(query_str)
        found = self.script[query_str]
        if isinstance(found, BaseException):
            raise found
        answer, retrieved = found if isinstance(found, tuple) else (found, ())
        return Response(response=answer, source_nodes=_nodes(retrieved))


Rows = Callable[[int], list[dict[str, Any]]]


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "question": f"Where is {i}?", "answer": f"at {i}", "topics": [f"{i}.md"]} for i in range(count)
    ]


@pytest.fixture(scope="session")
def rows() -> Rows:
    """So many questions, question `i` about the document `i.md` with the answer "at i"."""
    return _rows
