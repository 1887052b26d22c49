"""A reranker as a LlamaIndex object that puts nodes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from raglift.models.reranker import Reranker


class LiftReranker(BaseNodePostprocessor):
    """Puts nodes in the order of a cross-encoder's or a language model's scores, which take the place of theirs.

    Scores have no bounds, and compare with those of the same question alone. Where the scores that nodes come with
    count for a part (`MixedReranker`), more of them has to be better.

    Example:
        >>> reranker = raglift.open_run("rerank").reranker()
        >>> engine = RetrieverQueryEngine.from_args(retriever, llm=llm, node_postprocessors=[reranker])
    """

    top_n: int = Field(description="Nodes that are kept.", ge=1)
    source: str = Field(description="The folder of the model, or of what was tuned of it.")
    _reranker: Any = PrivateAttr()

    def __init__(self, reranker: Reranker, top_n: int, source: str) -> None:
        super().__init__(top_n=top_n, source=source)
        self._reranker = reranker

    @classmethod
    def class_name(cls) -> str:
        """As LlamaIndex names it."""
        return "LiftReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """The best `top_n`; nodes of equal score stay in the order in which they came.

        Raises:
            ValueError: There is no question.
        """
        if query_bundle is None:
            raise ValueError("a reranker needs the question: give query_bundle or query_str")
        return self.batch([query_bundle.query_str], [nodes])[0]

    def batch(self, questions: Sequence[str], nodes: Sequence[Sequence[NodeWithScore]]) -> list[list[NodeWithScore]]:
        """The best `top_n` nodes of each question; all are scored together, which costs less than one by one."""
        reranker: Reranker = self._reranker
        places = {f"{row}.{place}": hit for row, hits in enumerate(nodes) for place, hit in enumerate(hits)}
        text_of = {name: hit.node.get_content(MetadataMode.EMBED) for name, hit in places.items()}
        rankings = [
            tuple((f"{row}.{place}", hit.score or 0.0) for place, hit in enumerate(hits))
            for row, hits in enumerate(nodes)
        ]
        ordered = reranker.rerank(list(zip(questions, rankings, strict=True)), text_of)
        return [
            [NodeWithScore(node=places[name].node, score=score) for name, score in ranking[: self.top_n]]
            for ranking in ordered
        ]
