"""Dense retrieval: what encodes queries, and the index that is searched by their vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from numpy.typing import NDArray

from raglift.index.latency import stage
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.store import FaissStore
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, Role
from raglift.models.query_memory import QueryMemory

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Search:
    """What one search looks for.

    Attributes:
        words: What BM25 reads.
        queries: Texts that are encoded as queries; none: `words`.
        passages: Texts that are encoded as passages, such as one that might answer. The mean of all vectors is searched
            by.
        vector: Is searched by in place of all that, where it is given.
    """

    words: str
    queries: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    vector: tuple[float, ...] | None = None

    def texts(self, role: Role) -> tuple[str, ...]:
        """What is encoded in a role."""
        if self.vector is not None:
            return ()
        return self.passages if role == "passage" else self.queries or (self.words,)


@dataclass(frozen=True, slots=True)
class Dense:
    """An embedding model and the index of its vectors.

    Attributes:
        encode: (texts, role) -> vectors of shape (texts, dimension), with the model's prompt for the role.
        search: (vectors, depth, filters on metadata or None) -> the nearest chunks of each, with cosines.
        filters: Only chunks that they let through are found; None: all.
    """

    encode: Callable[[Sequence[str], Role], Vectors]
    search: Callable[[Vectors, int, MetadataFilters | None], list[Ranking]]
    filters: MetadataFilters | None = None

    @classmethod
    def of_store(cls, encoder: Encoder | QueryMemory, store: FaissStore) -> Dense:
        """A model of this package and its store: all questions are encoded and searched at once."""
        return cls(encoder.encode, partial(dense_rankings, store))

    @classmethod
    def of_index(cls, index: VectorStoreIndex) -> Dense:
        """Any LlamaIndex index with the embedding that it was made with; its store's scores should be cosines."""
        embedding, store = index._embed_model, index.vector_store
        encode = embedding.memory.encode if isinstance(embedding, LiftEmbedding) else _encode_by(embedding)
        if isinstance(store, FaissStore):
            return cls(encode, partial(dense_rankings, store))
        return cls(encode, partial(_search_in, index))

    def vectors(self, searches: Sequence[Search]) -> Vectors:
        """What is searched by, shape (searches, dimension), of unit length."""
        found: list[list[Vectors]] = [[] for _ in searches]
        roles: tuple[Role, ...] = ("query", "passage")
        for role in roles:
            texts = [text for search in searches for text in search.texts(role)]
            rows = iter(self.encode(texts, role) if texts else ())
            for place, search in enumerate(searches):
                found[place] += [next(rows) for _ in search.texts(role)]
        for place, search in enumerate(searches):
            if search.vector is not None:
                found[place].append(np.array(search.vector, dtype=np.float32))
        return np.stack([vectors[0] if len(vectors) == 1 else _mean(vectors) for vectors in found])

    def rankings(self, searches: Sequence[Search], depth: int) -> list[Ranking]:
        """The best `depth` chunks of each search."""
        if not searches:
            return []
        with stage("encoding"):
            vectors = self.vectors(searches)
        with stage("searching"):
            return self.search(vectors, depth, self.filters)


def _mean(vectors: Sequence[Vectors]) -> Vectors:
    mean: Vectors = np.stack(vectors).mean(axis=0, dtype=np.float32)
    return mean / np.float32(max(float(np.linalg.norm(mean)), 1e-12))


def _encode_by(embedding: BaseEmbedding) -> Callable[[Sequence[str], Role], Vectors]:
    def encode(texts: Sequence[str], role: Role) -> Vectors:
        vectors = (
            embedding.get_text_embedding_batch(list(texts))
            if role == "passage"
            else [embedding.get_query_embedding(text) for text in texts]
        )
        return np.array(vectors, dtype=np.float32)

    return encode


def _search_in(
    index: VectorStoreIndex, vectors: Vectors, depth: int, filters: MetadataFilters | None = None
) -> list[Ranking]:
    retriever = index.as_retriever(similarity_top_k=depth, filters=filters)
    hits = [retriever.retrieve(QueryBundle("", embedding=vector.tolist())) for vector in vectors]
    return [tuple((hit.node.node_id, float(hit.score or 0.0)) for hit in found) for found in hits]


def by_cosine(dense: Dense, store: FaissStore, questions: Sequence[str], rankings: Sequence[Ranking]) -> list[Ranking]:
    """The passages of each question's ranking by their cosines with it: ranks that are fused say little of them."""
    found: list[Ranking] = []
    for vector, ranking in zip(dense.encode(questions, "query"), rankings, strict=True):
        ids = [chunk_id for chunk_id, _ in ranking]
        cosines = store.vectors(ids) @ vector if ids else np.zeros(0)
        found.append(tuple(sorted(zip(ids, cosines.tolist(), strict=True), key=lambda hit: -hit[1])))
    return found
