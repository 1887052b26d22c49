"""What the arms of a run are made of."""

from __future__ import annotations

from collections.abc import Mapping

from raglift.config import Config
from raglift.corpus.stage import Corpus
from raglift.evaluation.answering import Limits, Pipelines
from raglift.index.first_stage import FirstStage
from raglift.index.ranking import Bm25
from raglift.index.store import FaissStore
from raglift.serve.models import Models


def limits(config: Config) -> Limits:
    """How much the arms retrieve, read and write."""
    settings = config.retrieval
    depth = config.rerank.depth if config.rerank is not None else 0
    return Limits(settings.top_k, settings.depth, settings.rrf_k, config.llm.new_tokens, depth)


def first_stage(config: Config, models: Models, store: FaissStore, corpus: Corpus) -> FirstStage:
    """What finds passages for the run's reranker, over the tuned embedding model's index."""
    settings, chunks = config.retrieval, corpus.chunks
    fused = config.rerank is not None and config.rerank.first_stage == "hybrid"
    bm25 = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks]) if fused else None
    return FirstStage(models.encoder("tuned"), store, bm25, settings.depth, settings.rrf_k)


def pipelines(models: Models, stores: Mapping[str, FaissStore], corpus: Corpus) -> Pipelines:
    """Both variants of both models, the two indexes and BM25, over one corpus."""
    chunks = corpus.chunks
    return Pipelines(
        encoder=models.encoder,
        store=lambda which: stores[which],
        generator=models.generator,
        llm_key={which: models.llm_key(which) for which in ("base", "tuned")},
        bm25=Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks]),
        text_of=corpus.text_of,
        render=models.render,
        read=models.prompt.read,
        arms=models.arms,
        reranker=models.reranker,
    )
