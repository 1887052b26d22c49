"""What the arms of a run are made of."""

from __future__ import annotations

from collections.abc import Mapping

from raglift.config import Config
from raglift.corpus.stage import Corpus
from raglift.evaluation.answering import Limits, Pipelines
from raglift.index.ranking import Bm25
from raglift.index.store import FaissStore
from raglift.serve.models import Models


def limits(config: Config) -> Limits:
    """How much the arms retrieve, read and write."""
    settings = config.retrieval
    return Limits(settings.top_k, settings.depth, settings.rrf_k, config.llm.new_tokens)


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
    )
