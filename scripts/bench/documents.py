"""A set of documents and what is made of it once, in a folder that outlives the process: corpus, base index, writer."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from raglift.config import Config
from raglift.corpus import stage as corpus_stage
from raglift.index import stage as index_stage
from raglift.index.bm25 import Bm25
from raglift.index.searchable import Searchable
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.device import Runtime, resolve
from raglift.models.find import find_model
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.serve.models import Models


class Documents:
    """What a run makes before anything is tuned, by the run's own stages.

    Args:
        work: Where the machine's probe is kept.
        folder: Of this set.
    """

    def __init__(self, config: Config, work: Path, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.runtime: Runtime = resolve(config.runtime, work)
        self.models = Models(config, self.runtime)

    def job(self, name: str) -> Job:
        """A folder for one step of the work."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return Job(self.folder / name, self.config.seed, Progress(quiet=True))

    @cached_property
    def corpus(self) -> corpus_stage.Corpus:
        """The documents in their splits."""
        job = self.job("corpus")
        if not (job.out / "funnel.json").exists():
            reading, human = corpus_stage.read_sources(self.config)
            corpus_stage.build(self.config, reading, human, job)
        return corpus_stage.Corpus(job.out)

    @cached_property
    def store(self) -> FaissStore:
        """The base index."""
        job = self.job("index")
        if not (job.out / "index.json").exists():
            index_stage.build(self.corpus.chunks, self.models.encoder("base"), "base", "base", job)
        return FaissStore.open(job.out)

    @cached_property
    def searchable(self) -> Searchable:
        """The chunks by vector and by word."""
        chunks, language = self.corpus.chunks, self.config.retrieval.language
        bm25 = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks], language)
        return Searchable(self.models.encoder("base"), self.store, bm25)

    def writer(self) -> Generator:
        """The local writer of questions."""
        path = find_model(self.config.synthesis.model).path
        model = quicken(load_causal_lm(path, self.runtime))
        return Generator(model, load_tokenizer(path), self.config.synthesis.batch_size)
