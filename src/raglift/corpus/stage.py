"""The corpus stage: documents, chunks, near-duplicates, splits and human questions, on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from raglift.artifacts import write_json
from raglift.config import Config
from raglift.corpus import audit
from raglift.corpus.chunkers._base import GiveEmbedding
from raglift.corpus.chunking import check_some, chunk_documents
from raglift.corpus.documents import Reading, read
from raglift.corpus.human import human_pairs
from raglift.corpus.judged import HumanQuestion, read_beir, read_questions
from raglift.corpus.near_duplicates import components, containing_pairs, containing_sets
from raglift.corpus.readers._reader import Limits
from raglift.corpus.split import split_groups
from raglift.errors import UserError
from raglift.job import Job
from raglift.progress import Progress
from raglift.records import Chunk, Document, QAPair, Split, read_jsonl, write_jsonl

VERSION = 5
CHUNK_OVERLAP = 0.5
"""Two chunks of which one holds half of the other's word 5-grams are never negatives of each other."""


@dataclass(frozen=True)
class Corpus:
    """A finished corpus artifact, read when it is asked for.

    Attributes:
        beside: Further texts by id, which are in no index and compared with the chunks in `similar` alone.
    """

    path: Path
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def documents(self) -> list[Document]:
        """Every document, with its near-duplicate group and split."""
        return read_jsonl(self.path / "documents.jsonl", Document)

    @cached_property
    def chunks(self) -> list[Chunk]:
        """Every chunk, in document order: the rows of every index."""
        return read_jsonl(self.path / "chunks.jsonl", Chunk)

    @cached_property
    def human(self) -> list[QAPair]:
        """The questions that people wrote."""
        return read_jsonl(self.path / "human.jsonl", QAPair)

    @cached_property
    def split_of(self) -> dict[str, Split]:
        """Document id -> split."""
        return {document.id: document.split for document in self.documents}

    @cached_property
    def text_of(self) -> dict[str, str]:
        """Chunk id -> text."""
        return {chunk.id: chunk.text for chunk in self.chunks}

    @cached_property
    def similar(self) -> dict[str, set[str]]:
        """Chunk id -> the chunks that repeat much of it, and the texts beside; the chunk itself may be among them."""
        return containing_sets({**self.beside, **self.text_of}, CHUNK_OVERLAP)


def read_sources(config: Config, display: Progress | None = None) -> tuple[Reading, list[HumanQuestion]]:
    """The documents and human questions that the config names, which are the stage's input.

    What was left out, and why, is warned about.
    """
    data = config.data
    if data.beir is not None:
        documents, questions = read_beir(data.beir)
        more = read_questions(data.questions, None)
        if twice := {question.id for question in questions} & {question.id for question in more}:
            raise UserError(
                f"The id {min(twice)!r} stands in {data.beir}/queries.jsonl and in {data.questions}.",
                f"{len(twice)} ids stand in both.",
                "Give the questions of data.questions other ids.",
            )
        return Reading(documents), questions + more
    assert data.documents is not None  # the config has exactly one of the two
    questions = read_questions(data.questions, data.documents)
    return _read_folder(config, data.documents, display), questions


def read_again(config: Config, display: Progress) -> list[Document]:
    """The documents that the config names as they are by now, which may be none; the questions are not looked at.

    What was left out, and why, is warned about.
    """
    if config.data.beir is not None:
        return read_beir(config.data.beir)[0]
    assert config.data.documents is not None  # the config has exactly one of the two
    return _read_folder(config, config.data.documents, display, may_be_empty=True).documents


def _read_folder(config: Config, name: str, display: Progress | None, may_be_empty: bool = False) -> Reading:
    data = config.data
    if Path(config.workspace).resolve() == Path(name).expanduser().resolve():
        raise UserError(
            f"The workspace and the documents are the same folder, {name!r}.",
            "What a run writes, its questions too, would be read as documents by the next one.",
            "Choose another `workspace`; it may lie within the folder.",
        )
    # They may lie among the documents, but must never become one.
    examples = config.synthesis.examples if config.synthesis.examples != "dev" else None
    beside = (data.questions, config.synthesis.review, examples, config.embedding.pairs, config.workspace)
    skip = [Path(each).expanduser() for each in beside if each]
    reading = read(name, Limits(**config.reading.model_dump()), data.network, skip, display, may_be_empty)
    if display is not None:
        reading.warn(display.warn)
    return reading


def build(
    config: Config,
    reading: Reading,
    questions: list[HumanQuestion],
    job: Job,
    embedding: GiveEmbedding | None = None,
) -> None:
    """Write documents, chunks, human questions, what was left out, audit.json and funnel.json into the job's folder."""
    settings = config.corpus
    documents = reading.documents
    texts = [document.text for document in documents]
    with job.display.stage("looking for repeated documents", len(texts), "documents") as bar:
        groups = components(len(texts), containing_pairs(texts, settings.near_duplicate, bar.advance))
    sizes: Counter[str] = Counter()
    for document, group in zip(documents, groups, strict=True):
        sizes[documents[group].id] += len(document.text)
    shares: dict[Split, float] = {"train": settings.train, "dev": settings.dev, "test": settings.test}
    assigned = split_groups(sizes, shares, job.seed)
    documents = [
        replace(document, group=documents[group].id, split=assigned[documents[group].id])
        for document, group in zip(documents, groups, strict=True)
    ]
    with job.display.stage("cutting documents into chunks", len(documents), "documents") as bar:
        chunks = chunk_documents(
            documents, settings.chunk_tokens, settings.chunk_overlap, bar.advance, settings.chunker, embedding
        )
    check_some(chunks, documents)
    human, dropped = human_pairs(questions, documents, chunks, config.data.dev_share_or_default, job.seed)
    write_jsonl(job.out / "documents.jsonl", documents)
    write_jsonl(job.out / "chunks.jsonl", chunks)
    write_jsonl(job.out / "human.jsonl", human)
    write_jsonl(job.out / "left_out.jsonl", reading.left_out)
    write_json(job.out / audit.FILE, audit.document_overlap(documents))
    counts: list[tuple[str, int]] = [
        *reading.counts(),
        ("documents read", len(documents)),
        ("near-duplicate groups", len(sizes)),
        ("chunks", len(chunks)),
        ("human questions read", len(questions)),
    ]
    counts += [(f"human question dropped: {reason}", count) for reason, count in sorted(dropped.items())]
    counts += [(f"human questions, {split}", count) for split, count in sorted(Counter(q.split for q in human).items())]
    trained = {document.id for document in documents if document.split == "train"}
    seen = sum(q.split == "test" and any(e.document_id in trained for e in q.evidence) for q in human)
    counts.append(("human test questions about documents of the train split", seen))
    write_json(
        job.out / "funnel.json", [{"stage": "corpus", "reason": reason, "count": count} for reason, count in counts]
    )
