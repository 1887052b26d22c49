"""BM25 and hybrid retrieval as LlamaIndex retrievers."""

from __future__ import annotations

from collections.abc import Mapping

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from raglift.index.ranking import Bm25, Ranking, fuse


class Bm25Retriever(BaseRetriever):
    """BM25 over an index's chunks."""

    def __init__(self, bm25: Bm25, nodes: Mapping[str, BaseNode], top_k: int) -> None:
        super().__init__()
        self._bm25, self._nodes, self._top_k = bm25, nodes, top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        ranking = self._bm25.rankings([query_bundle.query_str], self._top_k)[0]
        return [NodeWithScore(node=self._nodes[chunk_id], score=score) for chunk_id, score in ranking]


class HybridRetriever(BaseRetriever):
    """Reciprocal rank fusion of a dense retriever and BM25."""

    def __init__(
        self, dense: BaseRetriever, bm25: Bm25, nodes: Mapping[str, BaseNode], top_k: int, depth: int, k: int
    ) -> None:
        super().__init__()
        self._dense, self._bm25, self._nodes = dense, bm25, nodes
        self._top_k, self._depth, self._k = top_k, depth, k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        dense: Ranking = tuple((hit.node.node_id, hit.score or 0.0) for hit in self._dense.retrieve(query_bundle))
        sparse = self._bm25.rankings([query_bundle.query_str], self._depth)[0]
        fused = fuse([dense, sparse], self._top_k, self._k)
        return [NodeWithScore(node=self._nodes[chunk_id], score=score) for chunk_id, score in fused]
