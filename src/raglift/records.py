"""What flows between the stages: small immutable records, one JSON line each on disk.

Ids are content hashes, so the same documents and settings give the same ids on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from raglift.errors import UserError

Split = Literal["train", "dev", "test"]
Origin = Literal["synthetic", "human"]
Target = Literal["embedding", "llm", "rerank"]
Decision = Literal["better", "worse", "cannot tell"]


def content_id(*parts: object) -> str:
    """Sixteen hex digits of the sha256 over `parts`, stable across machines and Python versions."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Document:
    """A source text. Documents that are near-duplicates of each other share one `group` and one `split`."""

    id: str
    source: str
    text: str
    metadata: dict[str, str] = field(default_factory=dict)
    group: str = ""
    split: Split = "train"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `document.text[start:end] == text`."""

    id: str
    document_id: str
    text: str
    start: int
    end: int
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where an answer stands: characters `start:end` of a document, seen through one of its chunks.

    Without a `chunk_id` the judgement is about the whole document, as in most BEIR sets.
    """

    document_id: str
    chunk_id: str | None = None
    start: int = 0
    end: int = 0
    grade: int = 1


@dataclass(frozen=True, slots=True)
class QAPair:
    """A question with its reference answers and the evidence for them.

    `answerable` is False for a question that the corpus cannot answer; `answers` may be empty for an answerable
    question too (most retrieval sets have none), and then no response metric applies.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    kind: str
    split: Split
    origin: Origin
    answerable: bool = True
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A tuned model, or the base itself where nothing beat it (`chosen == "base"`).

    `same_passages` says that it gives passages the base's vectors, so that the base's index serves it too;
    `first_stage_share` is the weight that the first stage's scores keep in a reranker's order.
    """

    target: Target
    base: str
    base_revision: str
    strategies: tuple[str, ...]
    path: str
    key: str
    chosen: str
    dev: dict[str, float] = field(default_factory=dict)
    same_passages: bool = False
    first_stage_share: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexRef:
    """A built vector index and the embedding model whose vectors it holds."""

    path: str
    embedding_key: str
    dimension: int
    count: int
    kind: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What one arm did with one question. `ranking` holds (chunk id, score), best first; `answer` is None where
    the arm was asked for a ranking only. `tokens_in` and `tokens_out` count the prompt and the answer; None: not known.
    """

    qa_id: str
    arm: str
    ranking: tuple[tuple[str, float], ...]
    contexts: tuple[str, ...]
    answer: str | None
    seconds: float
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One metric for one question and arm. A score that could not be had is None with a reason, never zero."""

    metric: str
    qa_id: str
    arm: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One difference between two arms on one metric over one question set.

    `delta` is arm minus `against`, `ci_low`/`ci_high` its 95% interval, `p` corrected over the metrics, and
    `detectable` the smallest difference that this many questions would have shown with 80% power, tested alone.
    """

    question_set: str
    metric: str
    arm: str
    against: str
    delta: float
    ci_low: float
    ci_high: float
    p: float
    detectable: float
    n: int
    decision: Decision


Record = TypeVar("Record")


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def dump_line(record: Any) -> str:
    """The record as one JSON line, without the newline."""
    return json.dumps(asdict(record), ensure_ascii=False, sort_keys=True)


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Write one JSON line a record, replacing `path`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(dump_line(record) + "\n")


def parse_line(line: str, cls: type[Record]) -> Record:
    """The record that `dump_line` wrote.

    Raises:
        ValueError: The line is not JSON or not such a record.
    """
    record: Record = _adapter(cast("Any", cls)).validate_json(line)
    return record


def read_jsonl(path: Path, cls: type[Record]) -> list[Record]:
    """Every record in the file.

    Raises:
        UserError: The file is missing, or a line of it is not such a record.
    """
    return list(iter_jsonl(path, cls))


def iter_jsonl(path: Path, cls: type[Record]) -> Iterator[Record]:
    """Like `read_jsonl`, one record at a time."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"Cannot read {path}.", str(error)) from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield parse_line(line.decode("utf-8"), cls)
            except (ValidationError, ValueError) as error:
                raise UserError(
                    f"{path}:{number} is not a {cls.__name__} record.",
                    str(error).splitlines()[0],
                    "Delete the folder that holds the file and run the same command again.",
                ) from error
