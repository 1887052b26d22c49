"""The order of the stages, and what those from the trainings on are made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from llama_index.core.llms import LLM

from raglift.artifacts import Artifact, write_atomic, write_json
from raglift.config import Config, RerankConfig, TuningConfig
from raglift.evaluation import stage as evaluation_stage
from raglift.evaluation.retrieval import validate_metrics
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.pipeline_data import DataStages, synthetic
from raglift.progress import Progress
from raglift.records import Target
from raglift.report import build as report
from raglift.report.html import render
from raglift.runner import Runner
from raglift.serve.parts import first_stage, limits, pipelines
from raglift.serve.result import RunResult
from raglift.synthesis import hard_negatives, rerank_lists, training_sets
from raglift.synthesis.inverse_cloze import with_inverse_clozes
from raglift.training import embedding_stage, llm_stage, nudge_stage, rerank_stage
from raglift.training.embedding_stage import DevRanking
from raglift.training.examples import Example
from raglift.training.outcome import objective_key, read_outcome, strategy_key


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


class _Pipeline(DataStages):
    """One run, and its stages from the trainings on."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        _check_plugins(config)
        super().__init__(config, display, writer)

    def run(self, runner: Runner) -> RunResult:
        self._runner = runner
        corpus = self._corpus()
        base_index = self._index("base", corpus)
        self._tune_writer(corpus)
        questions = self._reviewed(self._synthesis(corpus, base_index))
        self._audit(corpus, questions)
        sets = self._training_sets(corpus, questions, base_index)
        mined = self._hard_negatives(corpus, questions, base_index)
        self._embedding(corpus, questions, self._teacher_scores(corpus, base_index, mined) or mined)
        tuned_index = self._nudged(corpus, questions, self._index("tuned", corpus))
        self._rerank(corpus, questions, tuned_index)
        self._llm(sets)
        self._evaluation(corpus, questions, base_index, tuned_index)
        return self._report()

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
        def write(job: Job) -> None:
            dev = [[q for q in pairs if q.split == "dev"] for pairs in (self._loaded.human, synthetic(questions))]
            # Made from the questions alone, so that the language model's settings do not retrain this one.
            pairs = (
                hard_negatives.load_pairs(mined.path)
                if mined
                else training_sets.embedding_pairs(synthetic(questions), self._loaded)
            )
            pairs = with_inverse_clozes(pairs, self._loaded, self._config.embedding.inverse_cloze, job.seed)
            embedding_stage.build(
                self._config.embedding, pairs, dev, self._loaded, self._models.embedding, self._runtime, job
            )

        inputs = {"corpus": corpus.key, "questions": questions.key}
        if mined:
            inputs["hard negatives"] = mined.key
        self._tuned("embedding", embedding_stage.VERSION, self._config.embedding, inputs, write)

    def _rerank(self, corpus: Artifact, questions: Artifact, index: Artifact) -> None:
        config = self._config.rerank
        base = self._models.rerank
        if config is None or base is None:
            return
        lists = self._rerank_lists(config, corpus, questions, index)

        def write(job: Job) -> None:
            dev = rerank_lists.load_dev(lists.path, (self._loaded.human, synthetic(questions)))
            pairs = hard_negatives.load_pairs(lists.path)
            rerank_stage.build(config, pairs, dev, self._loaded, base, self._runtime, job)

        self._tuned("rerank", rerank_stage.VERSION, config, {"lists": lists.key}, write)

    def _rerank_lists(self, config: RerankConfig, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        names = {"first_stage", "depth", "dev_questions"}
        mined = {"hard_negatives", "hard_negative_ceiling", "random_negatives"}
        fusion = self._config.retrieval.model_dump(mode="json", include={"depth", "rrf_k"})

        def write(job: Job) -> None:
            first = first_stage(self._config, self._models, self._stores["tuned"], self._loaded)
            rerank_lists.build(config, self._loaded, synthetic(questions), first, job)

        return self._runner.stage(
            "rerank_lists",
            rerank_lists.VERSION,
            {**config.model_dump(mode="json", include=names | mined), "fusion": fusion, "seed": self._config.seed},
            {
                "corpus": corpus.key,
                "questions": questions.key,
                "index": index.key,
                "embedding": self._models.embedding_key("tuned"),
            },
            write,
        )

    def _llm(self, sets: Artifact) -> None:
        def write(job: Job) -> None:
            examples = [Example(**row) for row in training_sets.load(sets.path, "examples")]
            dev = training_sets.load(sets.path, "dev")
            llm_stage.build(self._config.llm, examples, dev, self._models.llm, self._runtime, job)

        self._tuned("llm", llm_stage.VERSION, self._config.llm, {"sets": sets.key}, write)

    def _tuned(
        self,
        target: Target,
        version: int,
        config: TuningConfig,
        inputs: dict[str, str],
        write: Callable[[Job], None],
    ) -> None:
        settings = {
            # What is mined enters by the key of the mined pairs, so that keys from before it stay.
            **config.model_dump(mode="json", exclude={"hard_negatives", "hard_negative_ceiling"}),
            "strategies": strategy_key(config.strategies),
            "objective": objective_key(config.objective),
            "seed": self._config.seed,
        }
        artifact = self._runner.stage(target, version, settings, {**inputs, "base": self._revisions[target]}, write)
        self._models.add(read_outcome(artifact.path, artifact.key))

    def _evaluation(self, corpus: Artifact, questions: Artifact, base: Artifact, tuned: Artifact) -> None:
        config = self._config
        prompt = self._models.prompt
        settings = {
            **config.evaluation.model_dump(mode="json"),
            **config.retrieval.model_dump(mode="json"),
            "prompt": [prompt.name, prompt.version],
            "max_new_tokens": config.llm.max_new_tokens,
            "seed": config.seed,
        }
        inputs = {
            "corpus": corpus.key,
            "questions": questions.key,
            "base index": base.key,
            "tuned index": tuned.key,
            "similarity": self._revisions["similarity"],
            **{f"{which} llm": self._models.llm_key(which) for which in ("base", "tuned")},
        }
        if config.rerank is not None:
            settings["rerank"] = config.rerank.model_dump(mode="json", include={"first_stage", "depth"})
            inputs["reranker"] = self._models.rerank_key()

        def write(job: Job) -> None:
            sets = {
                "human": [q for q in self._loaded.human if q.split == "test"],
                "synthetic": [q for q in synthetic(questions) if q.split == "test"],
            }
            similarity = Encoder(
                load_encoder(find_model(config.evaluation.similarity_model).path, self._runtime), self._runtime
            )
            evaluation_stage.build(
                config.evaluation,
                limits(config),
                sets,
                pipelines(self._models, self._stores, self._loaded),
                {chunk.id: chunk.document_id for chunk in self._loaded.chunks},
                similarity,
                job,
            )

        self._runner.stage("evaluation", evaluation_stage.VERSION, settings, inputs, write)

    def _report(self) -> RunResult:
        folders = self._runner.folders
        value = report.build(
            self._config, folders, self._runner.stages, datetime.now(UTC).isoformat(timespec="seconds")
        )
        html = render(value, report.side_by_side(folders["evaluation"], self._loaded))
        write_json(self._runner.folder / "report.json", value)
        write_atomic(self._runner.folder / "report.html", html.encode("utf-8"))
        self._runner.finish()
        return RunResult(self._runner.folder)


def _check_plugins(config: Config) -> None:
    """What the schema cannot see without loading the plug-ins."""
    validate_metrics(config.evaluation.retrieval)
