"""What all rows of a set share: its documents, what was written about them, and the people's questions that judge.

Made once, in the folder `work`, and read by each row's own process.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from documents import Documents

from raglift.artifacts import write_json
from raglift.config import config_from_dict
from raglift.corpus import stage as corpus_stage
from raglift.evaluation.answering import to_answer
from raglift.index.ranking import dense_rankings
from raglift.records import Chunk, QAPair, Split, read_jsonl
from raglift.synthesis import stage as synthesis_stage
from raglift.synthesis import training_sets
from raglift.synthesis.human_examples import HumanExamples

DEMO = "python-reference"
_DEV = 0.1


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything, and how it is run.

    Attributes:
        train: Share of the documents that questions for training are written about.
        questions_per_chunk: Questions attempted for a passage.
        examples: Most training examples of the language model.
        answers: Most of the people's questions that the language model answers for the verdict.
        dev_answers: Most that it answers to say what the development split would choose.
        outside: Passages of the other set whose likelihood is taken.
        top_k: Passages in a prompt.
    """

    train: float = 0.4
    questions_per_chunk: float = 1.5
    examples: int = 96
    answers: int = 100
    dev_answers: int = 32
    outside: int = 60
    top_k: int = 1
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt of the language model, the right answers, and the document that the question is about."""

    id: str
    prompt: str
    answers: tuple[str, ...]
    document: str


class Asking(corpus_stage.Corpus):
    """A corpus without the passages of held-out documents, about which nothing need be written here."""

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The passages of the train and the development split."""
        return [chunk for chunk in super().chunks if self.split_of[chunk.document_id] != "test"]


class Domain(Documents):
    """One set of documents.

    Args:
        source: "python-reference", or a folder in BEIR layout.
        work: The folder of all sets.
        tuning: The sections `embedding` and `llm` of the run's config, as far as they are not the defaults.
    """

    def __init__(
        self, source: str, work: Path, sizes: Sizes, tuning: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        sections = {name: dict(section) for name, section in (tuning or {}).items()}
        sections["llm"] = sections.get("llm", {}) | {"max_examples": sizes.examples}
        config = config_from_dict(
            {
                "data": {"documents": source} if source == DEMO else {"beir": source},
                "seed": sizes.seed,
                "corpus": {"train": sizes.train, "dev": _DEV, "test": 1 - sizes.train - _DEV},
                "synthesis": {"questions_per_chunk": sizes.questions_per_chunk},
                "retrieval": {"top_k": sizes.top_k},
                "runtime": {"threads": sizes.threads, "checkpoint_seconds": 1e6, "trackers": []},
                **sections,
            }
        )
        self.name = Path(source).name
        self.sizes = sizes
        super().__init__(config, work, work / self.name)

    @cached_property
    def written(self) -> list[QAPair]:
        """What the synthesis stage wrote about the documents of the train and the development split."""
        job = self.job("synthesis")
        if not (job.out / "funnel.json").exists():
            writers = synthesis_stage.Writers(self.writer)
            settings, asking = self.config.synthesis, Asking(self.corpus.path)
            synthesis_stage.build(settings, asking, HumanExamples(), writers, self.searchable, job)
        return read_jsonl(job.out / "questions.jsonl", QAPair)

    @cached_property
    def examples(self) -> list[dict[str, Any]]:
        """The language model's training examples: prompt and answer."""
        job = self.job("sets")
        if not (job.out / "funnel.json").exists():
            base = self.models.encoder("base")
            top_k = self.sizes.top_k
            training_sets.build(self.config.llm, top_k, self.corpus, self.written, base, self.store, self.models, job)
        return training_sets.load(job.out, "examples")

    def people(self, *splits: Split) -> list[QAPair]:
        """The questions that people asked about documents of these splits alone."""
        of = self.corpus.split_of
        return [q for q in self.corpus.human if q.evidence and {of[e.document_id] for e in q.evidence} <= set(splits)]

    def asked(self, split: Split) -> list[Asked]:
        """People's questions with the passages that the base index finds, as the language model reads them."""
        file = self.folder / f"asked_{split}.json"
        if not file.exists():
            most = self.sizes.answers if split == "test" else self.sizes.dev_answers
            questions = to_answer([q for q in self.people(split) if q.answers], most, self.config.seed)
            vectors = self.models.encoder("base").encode([q.question for q in questions], "query")
            found = dense_rankings(self.store, vectors, self.sizes.top_k)
            prompts = [
                self.models.render(question.question, [self.corpus.text_of[chunk_id] for chunk_id, _ in ranking])
                for question, ranking in zip(questions, found, strict=True)
            ]
            rows = [
                Asked(q.id, prompt, q.answers, q.evidence[0].document_id)
                for q, prompt in zip(questions, prompts, strict=True)
            ]
            write_json(file, [asdict(row) for row in rows])
        return [Asked(**row | {"answers": tuple(row["answers"])}) for row in json.loads(file.read_text("utf-8"))]

    @cached_property
    def outside(self) -> dict[str, tuple[str, str]]:
        """Passages of this set for a model that was tuned on another: chunk id -> text and document id."""
        chunks = sorted(self.corpus.chunks, key=lambda chunk: chunk.id)
        drawn = random.Random(f"{self.config.seed}/outside").sample(chunks, min(self.sizes.outside, len(chunks)))
        return {chunk.id: (chunk.text, chunk.document_id) for chunk in drawn}

    def prepare(self) -> dict[str, int]:
        """Make what is not made yet; returns how much there is of what."""
        by_split = {split: sum(q.split == split for q in self.written) for split in ("train", "dev")}
        people: Sequence[tuple[str, int]] = [(split, len(self.people(split))) for split in ("dev", "test")]  # type: ignore[arg-type]
        return {
            "documents": len(self.corpus.documents),
            "passages": len(self.corpus.chunks),
            "pairs": len(training_sets.embedding_pairs(self.written, self.corpus)),
            "examples": len(self.examples),
            **{f"written, {split}": count for split, count in by_split.items()},
            **{f"people's questions, {split}": count for split, count in people},
            "people's questions": sum(bool(q.evidence) for q in self.corpus.human),
            "answered, dev": len(self.asked("dev")),
            "answered, test": len(self.asked("test")),
            "outside passages": len(self.outside),
        }
