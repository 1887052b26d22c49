"""The probe: text of no domain, on which a tuned model is held against its base to see what it has forgotten.

Written for raglift, in plain English, about everyday and general things, and kept as it is: figures of two versions of
it cannot be compared. `passages.jsonl` holds a passage a line (`id`, `text`, and `questions` with `id`, `question` and
an `answer` that stands in the text), three passages a subject, so that the right one has neighbours;
`closed_book.jsonl` holds questions of common knowledge (`id`, `question`, `answers`). Nothing trains on any of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from raglift.records import Document, Evidence, QAPair, content_id

NAME = "probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """What ships with raglift.

    Attributes:
        passages: Short texts; `id` and `source` are the same.
        questions: Each is answered by one passage, which is its evidence.
        closed_book: Of common knowledge, with every reference that is right.
    """

    passages: tuple[Document, ...]
    questions: tuple[QAPair, ...]
    closed_book: tuple[QAPair, ...]

    @property
    def key(self) -> str:
        """The hash of all its texts."""
        return content_id(asdict(self))


@cache
def read_probe() -> Probe:
    """The probe."""
    rows = _rows("passages.jsonl")
    passages = tuple(Document(row["id"], row["id"], row["text"]) for row in rows)
    questions = tuple(
        _question(asked["id"], asked["question"], (asked["answer"],), (Evidence(row["id"]),))
        for row in rows
        for asked in row["questions"]
    )
    known = tuple(
        _question(row["id"], row["question"], tuple(row["answers"]), ()) for row in _rows("closed_book.jsonl")
    )
    return Probe(passages, questions, known)


def _rows(name: str) -> list[dict[str, Any]]:
    lines = resources.files(__name__).joinpath(name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _question(identity: str, question: str, answers: tuple[str, ...], evidence: tuple[Evidence, ...]) -> QAPair:
    return QAPair(identity, question, answers, evidence, NAME, "test", "human")
