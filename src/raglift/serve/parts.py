"""What the arms of a run are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raglift.config import Config
from raglift.corpus.stage import Corpus
from raglift.evaluation.answering import Limits, Pipelines
from raglift.index.bm25 import Bm25
from raglift.index.fusions._base import Fusion
from raglift.index.store import FaissStore
from raglift.serve.models import Models


@dataclass(frozen=True, slots=True)
class Indexes:
    """What passages are found in.

    Attributes:
        stores: "base" or "tuned" -> the vectors of that embedding model.
        bm25: Over the same chunks.
        fusions: "base" or "tuned" -> how the two rankings become one.
    """

    stores: Mapping[str, FaissStore]
    bm25: Bm25
    fusions: Mapping[str, Fusion]


def limits(config: Config) -> Limits:
    """How much the arms retrieve, read and write."""
    settings = config.retrieval
    depth = config.rerank.depth if config.rerank is not None else 0
    return Limits(settings.top_k, settings.depth, config.llm.new_tokens, depth)


def pipelines(models: Models, indexes: Indexes, corpus: Corpus) -> Pipelines:
    """Both variants of both models, the two indexes and BM25, over one corpus."""
    return Pipelines(
        encoder=models.encoder,
        store=lambda which: indexes.stores[which],
        generator=models.generator,
        llm_key={which: models.llm_key(which) for which in ("base", "tuned")},
        bm25=indexes.bm25,
        fusion=indexes.fusions,
        text_of=corpus.text_of,
        render=models.render,
        read=models.prompt.read,
        arms=models.arms,
        reranker=models.reranker,
        transforms=models.transforms,
    )
