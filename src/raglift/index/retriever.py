"""All of retrieval as one LlamaIndex retriever: dense search and BM25, fused, reworded, put in order."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from raglift.config_fields import PluginSpec
from raglift.errors import UserError
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search
from raglift.index.filtering import Columns
from raglift.index.first_stage import FirstStage
from raglift.index.fusing import fusion_of
from raglift.index.fusions._base import Fusion
from raglift.index.latency import Latency, latencies, stage
from raglift.index.nodes import NodesById
from raglift.index.ranking import Ranking
from raglift.index.rerankers import LiftReranker
from raglift.index.rewording import Write, by_llm, reworded, transform_of
from raglift.index.transforms._base import QueryTransform


@dataclass(frozen=True, slots=True)
class _Order:
    """What puts passages in another order, and how many of the first stage's."""

    reranker: BaseNodePostprocessor
    depth: int


@dataclass(frozen=True, slots=True)
class _Reworded:
    """What puts questions in other words, and what writes them."""

    transform: QueryTransform
    write: Write


class LiftRetriever(BaseRetriever):
    """Finds passages with a dense index and BM25, fuses the two, and has a reranker put the best in order.

    It holds the nodes that there are when it is made: after a change of the index make another one.

    Args:
        first: What finds passages.
        nodes: Node id -> node, for every node that it can find.
        top_k: Nodes that are given back.

    Example:
        >>> retriever = raglift.open_run("quickstart").retriever("tuned_hybrid", top_k=5)   # of a run
        >>> retriever = LiftRetriever.from_index(index, top_k=5)                             # of an index of yours
        >>> hits = retriever.retrieve("How do I stop a loop early?")
    """

    def __init__(self, first: FirstStage, nodes: Mapping[str, BaseNode], top_k: int) -> None:
        super().__init__()
        if top_k < 1:
            raise UserError(f"top_k is {top_k}.", "A retriever gives back one passage at least.")
        self.top_k = top_k
        self._first, self._whole, self._nodes = first, first, nodes
        self._order: _Order | None = None
        self._reworded: _Reworded | None = None

    @classmethod
    def from_index(
        cls,
        index: VectorStoreIndex,
        top_k: int = 5,
        *,
        fusion: Fusion | str = "rrf",
        nodes: Sequence[BaseNode] | None = None,
        language: str = "english",
    ) -> LiftRetriever:
        """Hybrid retrieval over any LlamaIndex index, with the embedding that it was made with.

        Args:
            index: Scores of its vector store should be cosines where `fusion` reads scores ("convex").
            fusion: Its name, or an object with parameters of your own.
            nodes: Of the index, where neither its vector store nor its docstore gives them back.
            language: Of BM25's words; see `Bm25`.

        Raises:
            UserError: The nodes are nowhere to be had, or there is no such fusion or language.
        """
        found = list(nodes) if nodes is not None else _nodes_of(index)
        bm25 = Bm25([n.node_id for n in found], [n.get_content(MetadataMode.EMBED) for n in found], language)
        fused = fusion_of(PluginSpec(name=fusion)) if isinstance(fusion, str) else fusion
        first = FirstStage(Dense.of_index(index), bm25, DEPTH, fused)
        return cls(first, {node.node_id: node for node in found}, top_k)

    def with_filters(self, filters: MetadataFilters | None) -> LiftRetriever:
        """This retriever, which finds only nodes whose metadata passes, by vector and by word; another call's filters
        take the place of these. None: all nodes.

        Raises:
            UserError: A filter's value does not fit its operator.
        """
        found = copy.copy(self)
        found._first = self._whole if filters is None else self._whole.within(filters, _passing(self._nodes, filters))
        return found

    def with_reranker(self, reranker: BaseNodePostprocessor, depth: int = 30) -> LiftRetriever:
        """This retriever, whose first `depth` passages a reranker puts in order; it keeps `top_k` of them."""
        found = copy.copy(self)
        found._order = _Order(reranker, depth)
        return found

    def with_transform(self, transform: QueryTransform | str, llm: LLM | Write) -> LiftRetriever:
        """This retriever, which searches for what a language model makes of a question; a reranker reads the question.

        A question that brings texts or a vector of its own is searched for as it is.

        Args:
            transform: Its name, or an object with parameters of your own.

        Raises:
            UserError: There is no such transform.
        """
        found = copy.copy(self)
        known = transform_of(PluginSpec(name=transform)) if isinstance(transform, str) else transform
        found._reworded = _Reworded(known, by_llm(llm) if isinstance(llm, LLM) else llm)
        return found

    @property
    def in_batches(self) -> bool:
        """Whether `retrieve_batch` finds what `retrieve` does: a class made of this one may have its own way."""
        return inspect.unwrap(type(self)._retrieve) is inspect.unwrap(LiftRetriever._retrieve)

    def retrieve_batch(self, questions: Sequence[str | QueryBundle]) -> list[list[NodeWithScore]]:
        """The nodes of each question, best first: all are encoded and searched at once."""
        bundles = [QueryBundle(asked) if isinstance(asked, str) else asked for asked in questions]
        depth = self.top_k if self._order is None else max(self.top_k, self._order.depth)
        rankings = self._first.rankings(self._searches(bundles), depth)
        hits = self._ordered([self._hits(ranking) for ranking in rankings], bundles)
        return [found[: self.top_k] for found in hits]

    def latencies(self, questions: Sequence[str]) -> list[Latency]:
        """The milliseconds of each stage, p50 and p95 over the questions, which are asked one by one.

        Raises:
            UserError: There is no question.
        """
        return latencies(self.retrieve, questions)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.retrieve_batch([query_bundle])[0]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _searches(self, bundles: Sequence[QueryBundle]) -> list[tuple[Search, ...]]:
        given: list[tuple[Search, ...]] = [(_as_given(bundle),) for bundle in bundles]
        if self._reworded is None:
            return given
        plain = [place for place, bundle in enumerate(bundles) if _as_given(bundle) == Search(bundle.query_str)]
        questions = [bundles[place].query_str for place in plain]
        with stage("rewording"):
            written = reworded(self._reworded.transform, questions, self._reworded.write)
        replaced = dict(zip(plain, written, strict=True))
        return [replaced.get(place, search) for place, search in enumerate(given)]

    def _hits(self, ranking: Ranking) -> list[NodeWithScore]:
        try:
            return [NodeWithScore(node=self._nodes[chunk_id], score=score) for chunk_id, score in ranking]
        except KeyError as error:
            raise UserError(
                f"The index found the node {error.args[0]!r}, which the retriever does not hold.",
                "Nodes were added after it was made.",
                "Make another retriever: LiftRetriever.from_index(index).",
            ) from error

    def _ordered(self, hits: list[list[NodeWithScore]], bundles: Sequence[QueryBundle]) -> list[list[NodeWithScore]]:
        if self._order is None:
            return hits
        reranker = self._order.reranker
        with stage("reranking"):
            if isinstance(reranker, LiftReranker):
                return reranker.batch([bundle.query_str for bundle in bundles], hits)
            return [reranker.postprocess_nodes(found, bundle) for found, bundle in zip(hits, bundles, strict=True)]


DEPTH = 100
"""Ranks of either kind that are fused."""


def _as_given(bundle: QueryBundle) -> Search:
    """A question as LlamaIndex hands it over: with texts of its own to encode, or with a vector already."""
    vector = tuple(bundle.embedding) if bundle.embedding is not None else None
    return Search(bundle.query_str, tuple(bundle.custom_embedding_strs or ()), vector=vector)


def _passing(nodes: Mapping[str, BaseNode], filters: MetadataFilters) -> set[str]:
    """The ids of the nodes whose metadata passes."""
    if isinstance(nodes, NodesById):
        return nodes.passing(filters)
    held = list(nodes.values())
    mask = Columns([node.metadata for node in held], [node.ref_doc_id for node in held]).mask(filters)
    return {node.node_id for node, passes in zip(held, mask.tolist(), strict=True) if passes}


def _nodes_of(index: VectorStoreIndex) -> list[BaseNode]:
    """What the index can find. Its docstore may hold more: parents of nodes, and what was deleted from the index."""
    held = set(index.index_struct.nodes_dict.values())
    found: list[Any] = [node for node in index.docstore.docs.values() if node.node_id in held]
    if index.vector_store.stores_text or not held:
        try:
            found = list(index.vector_store.get_nodes())
        except (NotImplementedError, TypeError, ValueError) as error:
            if not found:
                raise UserError(
                    "The index does not give its nodes back, and BM25 needs their texts.",
                    f"{type(index.vector_store).__name__}: {error}",
                    "Pass them: LiftRetriever.from_index(index, nodes=nodes).",
                ) from error
    if not found:
        raise UserError("The index holds no nodes.", "There is nothing to find.", "Insert documents first.")
    return found
