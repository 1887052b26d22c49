"""The stages that train, and what each is made of."""

from __future__ import annotations

from functools import cache

from raglift.artifacts import Artifact
from raglift.config import LLMConfig, RerankConfig
from raglift.index.dense import Dense
from raglift.index.first_stage import FirstStage
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.pipeline_data import synthetic
from raglift.pipeline_embedding import EmbeddingStages
from raglift.pipeline_retrieval import RetrievalStages
from raglift.pipeline_tuning import Materials, Tuning
from raglift.synthesis import hard_negatives, rerank_lists, training_sets
from raglift.training import llm_stage, nudge_stage, rerank_stage
from raglift.training.embedding_stage import DevRanking
from raglift.training.examples import Example
from raglift.training.pairs import Pair
from raglift.training.trials import Variant, portion


class TrainingStages(EmbeddingStages, RetrievalStages):
    """The stages from the first training to the last."""

    def _nudged(self, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        kind = self._config.index.nudge
        if kind is None:
            return index

        def write(job: Job) -> None:
            written, chunks = synthetic(questions), self._loaded.chunks
            dev = DevRanking(self._dev_sets(questions), chunks)
            store, encoder = self._stores["tuned"], self._models.encoder("tuned")
            nudge_stage.build(kind, written, dev, chunks, store, encoder, self._models.passages_key("tuned"), job)

        embedding = self._models.embedding_key("tuned")
        artifact = self._runner.stage(
            "nudge",
            nudge_stage.VERSION,
            {"nudge": kind},
            {"corpus": corpus.key, "questions": questions.key, "index": index.key, "embedding": embedding},
            write,
        )
        self._stores["tuned"] = FaissStore.open(artifact.path)
        return artifact

    def _rerank(self, corpus: Artifact, questions: Artifact, index: Artifact) -> None:
        config = self._config.rerank
        base = self._models.rerank
        if config is None or base is None:
            return
        lists = self._rerank_lists(config, corpus, questions, index)

        @cache
        def rows() -> list[Pair]:
            return hard_negatives.load_pairs(lists.path)

        def write(variant: Variant, job: Job) -> None:
            settings = variant.config
            assert isinstance(settings, RerankConfig)
            dev = rerank_lists.load_dev(lists.path, (self._loaded.human, synthetic(questions)))
            some = portion(rows(), variant.share, lambda pair: pair.query, job.seed)
            rerank_stage.build(settings, some, dev, self._loaded, base, self._runtime, job)

        made_of = Materials({"lists": lists.key})
        self._tuned(Tuning("rerank", rerank_stage.VERSION, config, lambda _: made_of, write, lambda _: len(rows())))

    def _rerank_lists(self, config: RerankConfig, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        names = {"first_stage", "depth", "dev_questions"}
        mined = {"hard_negatives", "hard_negative_ceiling", "random_negatives"}
        depth, fused = self._config.retrieval.depth, config.first_stage == "hybrid"

        def write(job: Job) -> None:
            dense = Dense.of_store(self._models.encoder("tuned"), self._stores["tuned"])
            first = FirstStage(dense, self._bm25 if fused else None, depth, self._fusions["tuned"])
            rerank_lists.build(config, self._loaded, synthetic(questions), first, self._stores["tuned"], job)

        return self._runner.stage(
            "rerank_lists",
            rerank_lists.VERSION,
            {**config.model_dump(mode="json", include=names | mined), "ranks": depth, "seed": self._config.seed},
            {
                "corpus": corpus.key,
                "questions": questions.key,
                "index": index.key,
                "embedding": self._models.embedding_key("tuned"),
                **({"bm25": self._bm25_key, "fusion": self._fusion_keys["tuned"]} if fused else {}),
            },
            write,
        )

    def _llm(self, sets: Artifact) -> None:
        @cache
        def rows() -> list[Example]:
            return [Example(**row) for row in training_sets.load(sets.path, "examples")]

        def write(variant: Variant, job: Job) -> None:
            dev, settings = training_sets.load(sets.path, "dev"), variant.config
            some = portion(rows(), variant.share, lambda example: example.prompt, job.seed)
            assert isinstance(settings, LLMConfig)
            llm_stage.build(settings, some, dev, self._models.llm, self._runtime, job)

        made_of, config = Materials({"sets": sets.key}), self._config.llm
        self._tuned(Tuning("llm", llm_stage.VERSION, config, lambda _: made_of, write, lambda _: len(rows())))
