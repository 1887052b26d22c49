"""The stages that train, and what each is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llama_index.core.llms import LLM

from raglift.artifacts import Artifact
from raglift.config import Config, EmbeddingConfig, LLMConfig, RerankConfig, TuningConfig
from raglift.index.dense import Dense
from raglift.index.first_stage import FirstStage
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.pipeline_data import synthetic
from raglift.pipeline_retrieval import RetrievalStages
from raglift.progress import Progress
from raglift.records import QAPair, Target
from raglift.synthesis import hard_negatives, rerank_lists, training_sets
from raglift.synthesis.inverse_cloze import with_inverse_clozes
from raglift.training import curve_stage, embedding_stage, llm_stage, nudge_stage, provenance, rerank_stage
from raglift.training.card import write_card
from raglift.training.embedding_stage import DevRanking
from raglift.training.examples import Example
from raglift.training.outcome import embedding_objective_of, objective_key, read_outcome, strategy_key
from raglift.training.pairs import Pair
from raglift.training.trials import WHICH, Trial, Trials, Variant, portion


class TrainingStages(RetrievalStages):
    """The stages from the first training to the last."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        super().__init__(config, display, writer)
        self._trials: dict[str, dict[str, Any]] = {}

    def _nudged(self, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        kind = self._config.index.nudge
        if kind is None:
            return index

        def write(job: Job) -> None:
            written, chunks = synthetic(questions), self._loaded.chunks
            dev = DevRanking(
                [[q for q in asked if q.split == "dev"] for asked in (self._loaded.human, written)], chunks
            )
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

    def _embedding(self, corpus: Artifact, questions: Artifact, mined: Artifact | None) -> None:
        config = self._config.embedding
        objective = embedding_objective_of(config.objective)

        @cache
        def rows() -> list[Pair]:
            # Made from the questions alone, so that the language model's settings do not retrain this one.
            pairs = (
                hard_negatives.load_pairs(mined.path)
                if mined
                else training_sets.embedding_pairs(synthetic(questions), self._loaded)
            )
            return with_inverse_clozes(pairs, self._loaded, config.inverse_cloze, self._config.seed)

        def learned() -> list[Pair]:
            return embedding_stage.learnable(rows(), objective, Progress(quiet=True))

        def write(variant: Variant, job: Job) -> None:
            settings = variant.config
            assert isinstance(settings, EmbeddingConfig)
            some = rows() if variant.share == 1 else portion(learned(), variant.share, lambda p: p.query, job.seed)
            dev = [[q for q in pairs if q.split == "dev"] for pairs in (self._loaded.human, synthetic(questions))]
            embedding_stage.build(settings, some, dev, self._loaded, self._models.embedding, self._runtime, job)

        inputs = {"corpus": corpus.key, "questions": questions.key}
        if mined:
            inputs["hard negatives"] = mined.key
        version = embedding_stage.VERSION
        trials = self._tuned("embedding", version, config, inputs, write, lambda: len(learned()))
        if trials:
            self._learning_curve(corpus, questions, trials)

    def _learning_curve(self, corpus: Artifact, questions: Artifact, trials: Sequence[Trial]) -> None:
        """What the embedding model of each share finds of the test questions."""
        trained = {str(trial.variant.share): read_outcome(trial.artifact.path, "").tuned for trial in trials}
        resamples = self._config.evaluation.resamples
        artifact = self._runner.stage(
            "learning_curve",
            curve_stage.VERSION,
            {"resamples": resamples, "seed": self._config.seed},
            {
                "corpus": corpus.key,
                "questions": questions.key,
                "base": self._revisions["embedding"],
                **{str(trial.variant.share): trial.artifact.key for trial in trials},
            },
            lambda job: curve_stage.build(
                trained,
                self._test_sets(questions),
                self._loaded,
                self._models.embedding,
                self._runtime,
                resamples,
                job,
            ),
        )
        self._trials["embedding"]["test"] = json.loads((artifact.path / curve_stage.FILE).read_text("utf-8"))

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

        self._tuned("rerank", rerank_stage.VERSION, config, {"lists": lists.key}, write, lambda: len(rows()))

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

        self._tuned("llm", llm_stage.VERSION, self._config.llm, {"sets": sets.key}, write, lambda: len(rows()))

    def _tuned(
        self,
        target: Target,
        version: int,
        config: TuningConfig,
        inputs: dict[str, str],
        write: Callable[[Variant, Job], None],
        examples: Callable[[], int],
    ) -> list[Trial]:
        """The training that the run goes on with, and those of the learning curve, which are returned."""

        def train(variant: Variant) -> Artifact:
            settings = {
                # What is mined enters by the key of the mined pairs, so that keys from before it stay.
                **variant.config.model_dump(mode="json", exclude={"hard_negatives", "hard_negative_ceiling", *WHICH}),
                "strategies": strategy_key(config.strategies),
                "objective": objective_key(config.objective),
                "seed": self._config.seed,
            }
            if variant.share < 1:
                settings["share"] = variant.share
            keys = {**inputs, "base": self._revisions[target]}

            def with_card(job: Job) -> None:
                write(variant, job)
                base = self._models.base(target)
                data = provenance.describe(self._runner.folders, self._loaded, self._config.synthesis, target)
                if variant.share < 1:
                    data["facts"] |= {"share of the training set that was learned from": variant.share}
                write_card(job.out, target, base, variant.config, data, job.seed)

            return self._runner.stage(target, version, settings, keys, with_card, variant.label)

        trials = Trials(target, config, train, examples, self._display)
        kept, sweep = trials.sweep()
        self._runner.go_on_with(kept.variant.label, target)
        self._models.add(read_outcome(kept.artifact.path, kept.artifact.key))
        curve, points = trials.curve(kept)
        self._trials[target] = {name: found for name, found in (("sweep", sweep), ("curve", points)) if found}
        return curve

    def _test_sets(self, questions: Artifact) -> dict[str, list[QAPair]]:
        """The test questions of people, and the synthetic ones."""
        sets = {"human": self._loaded.human, "synthetic": synthetic(questions)}
        return {name: [question for question in asked if question.split == "test"] for name, asked in sets.items()}
