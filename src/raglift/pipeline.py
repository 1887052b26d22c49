"""The order of the stages, and the last of them: evaluation and report."""

from __future__ import annotations

from datetime import UTC, datetime

from llama_index.core.llms import LLM

from raglift.artifacts import Artifact
from raglift.config import Config
from raglift.evaluation import stage as evaluation_stage
from raglift.evaluation.retrieval import validate_metrics
from raglift.index.rewording import transform_key
from raglift.job import Job
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.pipeline_training import TrainingStages
from raglift.progress import Progress
from raglift.report import build as report
from raglift.report import slices
from raglift.report.files import write
from raglift.runner import Runner
from raglift.serve.parts import Indexes, limits, pipelines
from raglift.serve.result import RunResult


def run(config: Config, display: Progress | None = None, writer: LLM | None = None) -> RunResult:
    """Documents in, a measured lift out; stages that are already done are not done again.

    Args:
        writer: Writes the questions in place of `synthesis.model`.

    Raises:
        UserError: A mistake in the documents, the models or the settings, or another run is using the workspace.
    """
    display = display or Progress()
    pipeline = _Pipeline(config, display, writer)
    with Runner(config, display) as runner:
        return pipeline.run(runner)


class _Pipeline(TrainingStages):
    """One run, and its last stages."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        _check_plugins(config)
        super().__init__(config, display, writer)

    def run(self, runner: Runner) -> RunResult:
        self._runner = runner
        corpus = self._corpus()
        base_index = self._index("base", corpus)
        self._words(corpus)
        self._tune_writer(corpus)
        questions = self._reviewed(self._synthesis(corpus, base_index))
        self._given(corpus, questions)
        self._audit(corpus, questions)
        sets = self._training_sets(corpus, questions, base_index)
        self._embedding(corpus, questions, base_index)
        tuned_index = self._nudged(corpus, questions, self._index("tuned", corpus))
        self._fused("base", corpus, questions, base_index)
        self._fused("tuned", corpus, questions, tuned_index)
        self._reworded(corpus, questions, tuned_index)
        self._rerank(corpus, questions, tuned_index)
        self._llm(sets)
        self._evaluation(corpus, questions, base_index, tuned_index)
        return self._report()

    def _evaluation(self, corpus: Artifact, questions: Artifact, base: Artifact, tuned: Artifact) -> None:
        config = self._config
        prompt = self._models.prompt
        settings = {
            # Prices are no part of it: what answers cost is counted anew from their tokens.
            **config.evaluation.model_copy(update={"price_in": None, "price_out": None}).model_dump(mode="json"),
            **config.retrieval.model_dump(mode="json", include={"top_k", "depth"}),
            "prompt": [prompt.name, prompt.version],
            "max_new_tokens": config.llm.max_new_tokens,
            "seed": config.seed,
        }
        inputs = {
            "corpus": corpus.key,
            "questions": questions.key,
            "base index": base.key,
            "tuned index": tuned.key,
            "bm25": self._bm25_key,
            **{f"{which} fusion": key for which, key in self._fusion_keys.items()},
            "similarity": self._revisions["similarity"],
            "embedding": self._models.embedding_key("tuned"),
            **{f"{which} llm": self._models.llm_key(which) for which in ("base", "tuned")},
        }
        if config.retrieval.transforms:
            settings["transforms"] = [transform_key(spec) for spec in config.retrieval.transforms]
        if config.rerank is not None:
            settings["rerank"] = config.rerank.model_dump(mode="json", include={"first_stage", "depth"})
            inputs["reranker"] = self._models.rerank_key()

        def write(job: Job) -> None:
            similarity = Encoder(
                load_encoder(find_model(config.evaluation.similarity_model).path, self._runtime), self._runtime
            )
            evaluation_stage.build(
                config.evaluation,
                limits(config),
                self._test_sets(questions),
                pipelines(self._models, Indexes(self._stores, self._bm25, self._fusions), self._loaded),
                self._loaded.chunks,
                similarity,
                job,
            )

        self._runner.stage("evaluation", evaluation_stage.VERSION, settings, inputs, write)

    def _report(self) -> RunResult:
        folders = self._runner.folders
        value = report.build(
            self._config,
            folders,
            self._runner.stages,
            datetime.now(UTC).isoformat(timespec="seconds"),
            self._trials,
        )
        evaluation = folders["evaluation"]
        value["slices"] = slices.build(self._config, evaluation, self._loaded, self._display)
        write(self._runner.folder, value, evaluation, evaluation.name, self._loaded)
        self._runner.finish()
        return RunResult(self._runner.folder)


def _check_plugins(config: Config) -> None:
    """What the schema cannot see without loading the plug-ins."""
    validate_metrics(config.evaluation.retrieval)
