"""The stages that make the data: documents, questions, and what the models are trained on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift import plugins
from raglift.artifacts import WORK, Artifact
from raglift.config import Config
from raglift.config_schema import IndexConfig, RetrievalConfig
from raglift.corpus import audit
from raglift.corpus import stage as corpus_stage
from raglift.corpus.human import warn_of_dropped
from raglift.errors import UserError
from raglift.index import stage as index_stage
from raglift.index.backend import AUTO, TORCH, Choice, check_backend, read_choice, write_choice
from raglift.index.backend_choice import chosen_source
from raglift.index.bm25 import Bm25
from raglift.index.fusions._base import Fusion
from raglift.index.searchable import Searchable
from raglift.index.store import FaissStore
from raglift.index.vector_cache import FOLDER
from raglift.job import Job
from raglift.models.device import resolve
from raglift.models.embedding import LiftEmbedding
from raglift.models.find import find_model
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.records import QAPair, content_id, read_jsonl
from raglift.runner import Runner
from raglift.serve.models import Models
from raglift.synthesis import review, training_sets, tuned_writer
from raglift.synthesis import stage as synthesis_stage
from raglift.synthesis.example_sources import examples_of, given_examples, with_taught
from raglift.synthesis.human_examples import warn_of_left_out
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.review_file import read_rows
from raglift.training import rerank_stage
from raglift.training.outcome import objective_of, read_outcome, strategy_key
from raglift.training.preflight import check_room
from raglift.training.trials import WHICH

_LANGUAGE = RetrievalConfig().language


class DataStages:
    """What a run holds, and its stages up to the trainings.

    Each method is a stage: its key, its inputs, and the function that fills its folder.
    """

    _runner: Runner
    _loaded: corpus_stage.Corpus
    _bm25: Bm25
    _bm25_key: str
    _backend: Choice
    """Of the base index."""

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        self._config = config
        self._display = display
        self._runtime = resolve(config.runtime, Path(config.workspace))
        self._models = Models(config, self._runtime)
        self._llm_writer = llm_writer(config.synthesis, config.seed, writer)
        # What is nowhere is said before a stage begins, and before an earlier run's state is touched.
        check_backend(config.index.backend, self._runtime)
        self._revisions = {
            "embedding": self._models.embedding.revision,
            "llm": self._models.llm.revision,
            "writer": self._llm_writer.identity if self._llm_writer else find_model(config.synthesis.model).revision,
            "similarity": find_model(config.evaluation.similarity_model).revision,
        }
        for section, base in ((config.embedding, self._models.embedding), (config.llm, self._models.llm)):
            objective_of(section.objective).check(base)
        if config.rerank is not None and self._models.rerank is not None:
            self._revisions["rerank"] = self._models.rerank.revision
            rerank_stage.check_base(config.rerank, self._models.rerank)
            objective_of(config.rerank.objective).check(self._models.rerank)
        check_room(config.llm.new_tokens, self._models.window, config.llm.model)
        self._sources = corpus_stage.read_sources(config, display)
        self._given_examples = given_examples(config.synthesis, self._llm_writer is not None)
        self._review = read_rows(config.synthesis.review) if config.synthesis.review else None
        self._stores: dict[str, FaissStore] = {}
        self._fusions: dict[str, Fusion] = {}
        self._fusion_keys: dict[str, str] = {}
        self._writer: Generator | None = None
        self._tuned_writer: Path | None = None

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
        key, config = self._models.passages_key(which), self._config.index
        # Both indexes by the same one, or a difference between backends would pass for one of the tuning.
        backend = self._backend.backend if which == "tuned" and config.backend == AUTO else config.backend

        def write(job: Job) -> None:
            if which != "base" and key == self._models.passages_key("base"):
                index_stage.copy(self._stores["base"], key, job)
                write_choice(job.out, self._backend)
            else:
                passages = self._models.passages(which, self._vectors(job), self._display.warn)
                texts = [chunk.text for chunk in self._loaded.chunks]
                try:
                    source = chosen_source(backend, texts, passages, job)
                except UserError as error:
                    if backend == config.backend:
                        raise
                    self._display.warn(f"{error.what} {error.why} Its passages are encoded by torch.")
                    source = chosen_source(TORCH, texts, passages, job)
                index_stage.build(self._loaded.chunks, source.encoder, key, which, job, config, source.cache)

        artifact = self._runner.stage(
            f"index_{which}",
            index_stage.VERSION,
            _index_settings(config),
            {"corpus": corpus.key, "embedding": key},
            write,
        )
        self._stores[which] = FaissStore.open(artifact.path, fingerprint=key)
        if which == "base":
            self._backend = read_choice(artifact.path)
        return artifact

    def _vectors(self, job: Job) -> Path:
        """Where the vectors of passages are kept: for every run, or for the next attempt at this stage alone."""
        return Path(self._config.workspace) / FOLDER if self._config.runtime.vector_cache else job.out / WORK

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
        inputs |= self._words_key()
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
                self._searchable(),
                job,
            ),
        )

    def _words_key(self) -> dict[str, str]:
        """BM25 as an input, but in the language that was always read: then the corpus alone decides it."""
        return {} if self._config.retrieval.language == _LANGUAGE else {"bm25": self._bm25_key}

    def _searchable(self) -> Searchable:
        return Searchable(self._models.encoder("base"), self._stores["base"], self._bm25)

    def _reviewed(self, questions: Artifact) -> Artifact:
        if self._review is None:
            return questions
        rows, written = self._review, synthetic(questions)
        review.check(rows, written, str(self._config.synthesis.review), self._display.warn)
        return self._runner.stage(
            "review",
            review.VERSION,
            {},
            {"questions": questions.key, "review": review.key_of(rows)},
            lambda job: review.build(rows, written, self._loaded.text_of, job),
        )

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
                synthetic(questions),
                self._models.encoder("base"),
                self._stores["base"],
                self._models,
                job,
            ),
        )


def _index_settings(config: IndexConfig) -> dict[str, Any]:
    """What decides an index, but for what is a stage of its own; torch is not named, so that keys of before hold."""
    left_out = {"nudge", "backend"} if config.backend == TORCH else {"nudge"}
    found: dict[str, Any] = config.model_dump(mode="json", exclude=left_out)
    return found


def synthetic(artifact: Artifact) -> list[QAPair]:
    """The questions that a stage wrote."""
    return read_jsonl(artifact.path / "questions.jsonl", QAPair)
