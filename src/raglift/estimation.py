"""What the writing of a run's questions will take, without running it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from llama_index.core.llms import LLM

from raglift.config import Config
from raglift.corpus import stage as corpus_stage
from raglift.job import Job
from raglift.models.device import resolve
from raglift.models.embedding import LiftEmbedding
from raglift.progress import Progress
from raglift.serve.models import Models
from raglift.synthesis.asking import asking_of
from raglift.synthesis.budget import Estimate, Usage
from raglift.synthesis.example_sources import examples_of, given_examples, with_taught
from raglift.synthesis.filters._load import load_filters
from raglift.synthesis.guesses import asks_closed_book
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.llm_estimate import estimate_llm
from raglift.synthesis.shots import with_examples
from raglift.synthesis.stage import planned


def estimate(config: Config, display: Progress | None = None, writer: LLM | None = None) -> Estimate:
    """Calls, tokens and money of the writer that the configuration names or that is passed, as if nothing were written.

    Reads and splits the documents, in a temporary folder; calls nothing and writes nothing into the workspace.

    Raises:
        UserError: A mistake in the documents or in the writer's settings.
    """
    display = display or Progress()
    remote = llm_writer(config.synthesis, config.seed, writer)
    given = given_examples(config.synthesis, remote is not None)
    reading, human = corpus_stage.read_sources(config, display)

    def embedding() -> LiftEmbedding:
        return Models(config, resolve(config.runtime, Path(folder))).llama_embedding("base")

    with TemporaryDirectory() as folder:
        corpus_stage.build(config, reading, human, Job(Path(folder), config.seed, display), embedding)
        corpus = corpus_stage.Corpus(Path(folder))
        examples = examples_of(config.synthesis, given, corpus)
        if config.synthesis.tune_writer:
            examples = with_taught(examples, corpus)
        assignments, _ = planned(config.synthesis, corpus, config.seed, examples)
    if remote is not None:
        texts = list({(item.kind, item.shown): None for item in assignments})
        asking, _ = with_examples(asking_of(config.synthesis), examples, config.seed)
        closed_book = asks_closed_book(load_filters(config.synthesis.filters))
        return estimate_llm(texts, remote, asking, display, closed_book=closed_book)
    nothing = Usage()
    return Estimate(config.synthesis.model, len(assignments), 0, nothing, nothing, 0.0, 0.0, None, None)
