"""The order of the stages, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift import plugins
from raglift.artifacts import Artifact, write_atomic, write_json
from raglift.config import Config, EmbeddingConfig, LLMConfig, TuningConfig
from raglift.corpus import audit
from raglift.corpus import stage as corpus_stage
from raglift.corpus.human import warn_of_dropped
from raglift.evaluation import stage as evaluation_stage
from raglift.evaluation.retrieval import validate_metrics
from raglift.index import stage as index_stage
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.device import resolve
from raglift.models.embedding import LiftEmbedding
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.records import QAPair, Target, content_id, read_jsonl
from raglift.report import build as report
from raglift.report.html import render
from raglift.runner import Runner
from raglift.serve.models import Models
from raglift.serve.parts import limits, pipelines
from raglift.serve.result import RunResult
from raglift.synthesis import hard_negatives, review, teacher_scores, training_sets, tuned_writer
from raglift.synthesis import stage as synthesis_stage
from raglift.synthesis.example_sources import examples_of, given_examples, with_taught
from raglift.synthesis.human_examples import warn_of_left_out
from raglift.synthesis.inverse_cloze import with_inverse_clozes
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.review_file import read_rows
from raglift.training import curve_stage, embedding_stage, llm_stage, nudge_stage, provenance
from raglift.training.card import write_card
from raglift.training.embedding_stage import DevRanking
from raglift.training.examples import Example
from raglift.training.outcome import embedding_objective_of, objective_key, objective_of, read_outcome, strategy_key
from raglift.training.pairs import Pair
from raglift.training.preflight import check_room
from raglift.training.trials import WHICH, Trial, Trials, Variant, portion


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


class _Pipeline:
    """One run. Each method is a stage: its key, its inputs, and the function that fills its folder."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        self._config = config
        self._display = display
        _check_plugins(config)
        self._runtime = resolve(config.runtime, Path(config.workspace))
        self._models = Models(config, self._runtime)
        self._llm_writer = llm_writer(config.synthesis, config.seed, writer)
        # What is nowhere is said before a stage begins, and before an earlier run's state is touched.
        self._revisions = {
            "embedding": self._models.embedding.revision,
            "llm": self._models.llm.revision,
            "writer": self._llm_writer.identity if self._llm_writer else find_model(config.synthesis.model).revision,
            "similarity": find_model(config.evaluation.similarity_model).revision,
        }
        for section, base in ((config.embedding, self._models.embedding), (config.llm, self._models.llm)):
            objective_of(section.objective).check(base)
        check_room(config.llm.new_tokens, self._models.window, config.llm.model)
        self._sources = corpus_stage.read_sources(config, display)
        self._given_examples = given_examples(config.synthesis, self._llm_writer is not None)
        self._review = read_rows(config.synthesis.review) if config.synthesis.review else None
        self._stores: dict[str, FaissStore] = {}
        self._writer: Generator | None = None
        self._tuned_writer: Path | None = None
        self._trials: dict[str, dict[str, Any]] = {}

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
        self._llm(sets)
        self._evaluation(corpus, questions, base_index, tuned_index)
        return self._report()

    def _corpus(self) -> Artifact:
        reading, human = self._sources
        inputs = {
            "sources": content_id(
                [document.id for document in reading.documents],
                [asdict(question) for question in human],
                [asdict(item) for item in reading.left_out],
                reading.counts(),
            )
        }
        chunker = plugins.load("chunker", self._config.corpus.chunker)
        if chunker.embeds:
            inputs["embedding"] = self._revisions["embedding"]
        settings = {
            **self._config.corpus.model_dump(mode="json", exclude=set(audit.THRESHOLDS)),
            "chunker": [chunker.name, chunker.version],
            "dev_share": self._config.data.dev_share_or_default,
            "seed": self._config.seed,
        }
        artifact = self._runner.stage(
            "corpus",
            corpus_stage.VERSION,
            settings,
            inputs,
            lambda job: corpus_stage.build(self._config, reading, human, job, self._base_embedding),
        )
        self._loaded = corpus_stage.Corpus(artifact.path)
        warn_of_dropped(human, self._loaded.human, self._display.warn)
        audit.check_documents(audit.read_documents(artifact.path, self._config.corpus), self._display.say)
        self._examples = examples_of(self._config.synthesis, self._given_examples, self._loaded)
        warn_of_left_out(self._examples, self._display.warn)
        return artifact

    def _base_embedding(self) -> LiftEmbedding:
        return self._models.llama_embedding("base")

    def _index(self, which: str, corpus: Artifact) -> Artifact:
        key = self._models.passages_key(which)

        def write(job: Job) -> None:
            if which != "base" and key == self._models.passages_key("base"):
                index_stage.copy(self._stores["base"], key, job)
            else:
                index_stage.build(self._loaded.chunks, self._models.encoder(which), key, which, job)

        artifact = self._runner.stage(
            f"index_{which}",
            index_stage.VERSION,
            self._config.index.model_dump(mode="json", exclude={"nudge"}),  # a stage of its own
            {"corpus": corpus.key, "embedding": key},
            write,
        )
        self._stores[which] = FaissStore.open(artifact.path)
        return artifact

    def _nudged(self, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        kind = self._config.index.nudge
        if kind is None:
            return index

        def write(job: Job) -> None:
            written, chunks = _synthetic(questions), self._loaded.chunks
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

    def _tune_writer(self, corpus: Artifact) -> None:
        synthesis = self._config.synthesis
        if not synthesis.tune_writer:
            return
        tuned = with_taught(self._examples, self._loaded)
        synthesis_stage.planned(synthesis, self._loaded, self._config.seed, tuned)  # that nothing is left is said now
        base = find_model(synthesis.model)
        tuning = tuned_writer.tuning(synthesis)
        settings = {
            **tuning.model_dump(mode="json", exclude=set(WHICH)),
            "strategies": strategy_key(tuning.strategies),
            "kinds": sorted(synthesis.kinds),
            "style": synthesis.style,
            "seed": self._config.seed,
        }
        artifact = self._runner.stage(
            "writer",
            tuned_writer.VERSION,
            settings,
            {"corpus": corpus.key, "examples": self._examples.key, "base": base.revision},
            lambda job: tuned_writer.build(synthesis, self._examples, self._loaded, base, self._runtime, job),
        )
        outcome = read_outcome(artifact.path, artifact.key)
        if outcome.tuned is None:
            return
        self._tuned_writer = outcome.tuned
        self._revisions["writer"] = artifact.key
        self._examples = tuned

    def _synthesis(self, corpus: Artifact, index: Artifact) -> Artifact:
        # The review comes after it: a verdict must not have the questions written anew. Examples and a tuned writer
        # enter as inputs, by what they hold.
        left_out = {"writer", "review", "examples", "tune_writer"}
        synthesis = self._config.synthesis
        drawn = {"temperature": synthesis.temperature_or_default, "samples": synthesis.samples_or_default}
        local = {"model", "batch_size", *drawn} if self._llm_writer else set()
        settings = synthesis.model_dump(mode="json", exclude=left_out | local)
        settings |= {name: value for name, value in drawn.items() if name in settings}
        settings["seed"] = self._config.seed
        if settings["filters"] is None:
            settings["filters"] = plugins.names("question filter")
        inputs = {"corpus": corpus.key, "index": index.key, "writer": self._revisions["writer"]}
        if self._examples.items:
            inputs["examples"] = self._examples.key
        return self._runner.stage(
            "synthesis",
            synthesis_stage.VERSION,
            settings,
            inputs,
            lambda job: synthesis_stage.build(
                self._config.synthesis,
                self._loaded,
                self._examples,
                synthesis_stage.Writers(self._load_writer, self._llm_writer),
                self._models.encoder("base"),
                self._stores["base"],
                job,
            ),
        )

    def _reviewed(self, questions: Artifact) -> Artifact:
        if self._review is None:
            return questions
        rows, written = self._review, _synthetic(questions)
        review.check(rows, written, str(self._config.synthesis.review), self._display.warn)
        return self._runner.stage(
            "review",
            review.VERSION,
            {},
            {"questions": questions.key, "review": review.key_of(rows)},
            lambda job: review.build(rows, written, self._loaded.text_of, job),
        )

    def _audit(self, corpus: Artifact, questions: Artifact) -> None:
        asked = _synthetic(questions) + self._loaded.human
        artifact = self._runner.stage(
            "audit",
            audit.VERSION,
            {},
            {"corpus": corpus.key, "questions": questions.key, "embedding": self._revisions["embedding"]},
            lambda job: audit.build(asked, self._models.encoder("base"), job),
        )
        audit.check_questions(audit.read_questions(artifact.path, self._config.corpus), self._display.say)

    def _load_writer(self) -> Generator:
        if self._writer is None:
            path = find_model(self._config.synthesis.model).path
            model = quicken(load_causal_lm(path, self._runtime, self._tuned_writer))
            self._writer = Generator(model, load_tokenizer(path), self._config.synthesis.batch_size)
        return self._writer

    def _training_sets(self, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact:
        llm, prompt = self._config.llm, self._models.prompt
        settings = {
            "absent": llm.absent,
            "closed_book": llm.closed_book,
            "cloze": llm.cloze,
            "max_examples": llm.max_examples,
            "top_k": self._config.retrieval.top_k,
            "prompt": [prompt.name, prompt.version],
            "seed": self._config.seed,
        }
        return self._runner.stage(
            "training_sets",
            training_sets.VERSION,
            settings,
            {"corpus": corpus.key, "questions": questions.key, "index": index.key, "llm": self._revisions["llm"]},
            lambda job: training_sets.build(
                llm,
                self._config.retrieval.top_k,
                self._loaded,
                _synthetic(questions),
                self._models.encoder("base"),
                self._stores["base"],
                self._models,
                job,
            ),
        )

    def _hard_negatives(self, corpus: Artifact, questions: Artifact, index: Artifact) -> Artifact | None:
        embedding = self._config.embedding
        if not embedding.hard_negatives:
            return None
        return self._runner.stage(
            "hard_negatives",
            hard_negatives.VERSION,
            {"count": embedding.hard_negatives, "ceiling": embedding.hard_negative_ceiling},
            {"corpus": corpus.key, "questions": questions.key, "index": index.key},
            lambda job: hard_negatives.build(
                embedding,
                self._loaded,
                _synthetic(questions),
                self._models.encoder("base"),
                self._stores["base"],
                job,
            ),
        )

    def _teacher_scores(self, corpus: Artifact, index: Artifact, mined: Artifact | None) -> Artifact | None:
        spec = embedding_objective_of(self._config.embedding.objective).needs_teacher()
        if spec is None or mined is None:
            return None
        return self._runner.stage(
            "teacher_scores",
            teacher_scores.VERSION,
            {"teacher": teacher_scores.settings_of(spec)},
            {"corpus": corpus.key, "index": index.key, "hard negatives": mined.key},
            lambda job: teacher_scores.build(
                spec,
                hard_negatives.load_pairs(mined.path),
                self._loaded,
                self._models.encoder("base"),
                self._stores["base"],
                self._runtime,
                job,
            ),
        )

    def _embedding(self, corpus: Artifact, questions: Artifact, mined: Artifact | None) -> None:
        config = self._config.embedding
        objective = embedding_objective_of(config.objective)

        @cache
        def rows() -> list[Pair]:
            # Made from the questions alone, so that the language model's settings do not retrain this one.
            pairs = (
                hard_negatives.load_pairs(mined.path)
                if mined
                else training_sets.embedding_pairs(_synthetic(questions), self._loaded)
            )
            return with_inverse_clozes(pairs, self._loaded, config.inverse_cloze, self._config.seed)

        def learned() -> list[Pair]:
            return embedding_stage.learnable(rows(), objective, Progress(quiet=True))

        def write(variant: Variant, job: Job) -> None:
            settings = variant.config
            assert isinstance(settings, EmbeddingConfig)
            some = rows() if variant.share == 1 else portion(learned(), variant.share, lambda p: p.query, job.seed)
            dev = [[q for q in pairs if q.split == "dev"] for pairs in (self._loaded.human, _synthetic(questions))]
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
                base = self._models.embedding if target == "embedding" else self._models.llm
                data = provenance.describe(self._runner.folders, self._loaded, self._config.synthesis, target)
                write_card(job.out, target, base, variant.config, data, job.seed)

            return self._runner.stage(target, version, settings, keys, with_card, variant.label)

        trials = Trials(target, config, train, examples, self._display)
        kept, sweep = trials.sweep()
        self._runner.go_on_with(kept.variant.label, target)
        self._models.add(read_outcome(kept.artifact.path, kept.artifact.key))
        curve, points = trials.curve(kept)
        self._trials[target] = {name: found for name, found in (("sweep", sweep), ("curve", points)) if found}
        return curve

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

        def write(job: Job) -> None:
            similarity = Encoder(
                load_encoder(find_model(config.evaluation.similarity_model).path, self._runtime), self._runtime
            )
            evaluation_stage.build(
                config.evaluation,
                limits(config),
                self._test_sets(questions),
                pipelines(self._models, self._stores, self._loaded),
                {chunk.id: chunk.document_id for chunk in self._loaded.chunks},
                similarity,
                job,
            )

        self._runner.stage("evaluation", evaluation_stage.VERSION, settings, inputs, write)

    def _test_sets(self, questions: Artifact) -> dict[str, list[QAPair]]:
        """The test questions of people, and the synthetic ones."""
        sets = {"human": self._loaded.human, "synthetic": _synthetic(questions)}
        return {name: [question for question in asked if question.split == "test"] for name, asked in sets.items()}

    def _report(self) -> RunResult:
        folders = self._runner.folders
        value = report.build(
            self._config,
            folders,
            self._runner.stages,
            datetime.now(UTC).isoformat(timespec="seconds"),
            self._trials,
        )
        html = render(value, report.side_by_side(folders["evaluation"], self._loaded))
        write_json(self._runner.folder / "report.json", value)
        write_atomic(self._runner.folder / "report.html", html.encode("utf-8"))
        self._runner.finish()
        return RunResult(self._runner.folder)


def _check_plugins(config: Config) -> None:
    """What the schema cannot see without loading the plug-ins."""
    validate_metrics(config.evaluation.retrieval)


def _synthetic(artifact: Artifact) -> list[QAPair]:
    return read_jsonl(artifact.path / "questions.jsonl", QAPair)
