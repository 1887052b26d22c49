"""What the splits have in common: word n-grams of their documents, and questions that are asked alike.

What was measured is stored without any threshold; whether it is too much is asked anew in every run, so that another
threshold rebuilds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raglift.artifacts import write_json
from raglift.config import CorpusConfig
from raglift.corpus.shingles import shingles
from raglift.errors import UserError
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.records import Document, QAPair

VERSION = 1
FILE = "audit.json"
THRESHOLDS = frozenset({"audit_ngrams", "audit_similarity", "audit_questions"})
"""Keys of `corpus` that decide whether a run goes on, and nothing that a stage writes."""
WORDS = 8
"""Width of the n-grams: longer than set phrases, shorter than most sentences."""
_COMPARED = (("dev", "train"), ("test", "train"), ("test", "dev"))
_NAMED = 5
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a held-out split stands in another split too.

    `count` of `total` n-grams or questions are shared, at most `limit` of them may be; `pairs` name the worst.
    """

    what: str
    against: str
    count: int
    total: int
    limit: float
    pairs: tuple[str, ...]

    @property
    def share(self) -> float:
        """`count` as a share of `total`."""
        return self.count / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.what} also in {self.against}: {self.count:,} of {self.total:,} ({self.share:.1%})"


def document_overlap(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """For each two splits that may not share text: how many different 8-grams of the first stand in the second.

    Returns:
        One mapping each, JSON-serialisable: `split`, `against`, `ngrams`, `shared`, and `pairs`, the documents of the
        first with most of what is shared, each with the document of the second that holds most of that.
    """
    found = shingles([document.text for document in documents], WORDS)
    matrix = found.matrix()
    splits = np.array([document.split for document in documents])
    rows = []
    for split, against in _COMPARED:
        held, other = np.flatnonzero(splits == split), np.flatnonzero(splits == against)
        inside = np.asarray(matrix[held].sum(axis=0)).ravel() > 0
        both = inside & (np.asarray(matrix[other].sum(axis=0)).ravel() > 0)
        shared = matrix[held] @ both.astype(np.int64)
        pairs = []
        for place in np.argsort(-shared, kind="stable")[:_NAMED]:
            if shared[place]:
                row = matrix[held[place]]
                common = np.asarray((matrix[other] @ row.T).todense()).ravel()
                most = int(common.argmax())
                pair = {"document": documents[held[place]].source, "repeats": documents[other[most]].source}
                pairs.append(pair | {"shared": int(common[most]), "ngrams": int(row.nnz)})
        counts = {"ngrams": int(inside.sum()), "shared": int(both.sum())}
        rows.append({"split": split, "against": against, **counts, "pairs": pairs})
    return rows


def question_overlap(
    questions: Sequence[QAPair], vectors: NDArray[np.float32], training: Sequence[QAPair], known: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """For each question the training question that is most like it, most alike first.

    Args:
        vectors: Of the questions, of unit length; shape (questions, dimension).
        known: Of the training questions, likewise.

    Returns:
        One mapping each, JSON-serialisable: `split`, `origin`, `question`, `training`, `cosine`.
    """
    rows = []
    for start in range(0, len(questions) if len(training) else 0, _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ known.T
        for question, row in zip(questions[start : start + _BLOCK], cosines, strict=True):
            best = int(row.argmax())
            about = {"split": question.split, "origin": question.origin, "question": question.question}
            rows.append(about | {"training": training[best].question, "cosine": round(float(row[best]), 4)})
    return sorted(rows, key=lambda row: (-row["cosine"], row["question"]))


def build(questions: Sequence[QAPair], encoder: Encoder, job: Job) -> None:
    """Write audit.json: the questions of the training split compared with all others.

    Args:
        questions: Synthetic and human, and those of given pairs, which train.
    """
    training = [q for q in questions if q.split == "train"]
    others = [q for q in questions if q.split != "train"]
    texts = [q.question for q in training + others]
    with job.display.stage("looking for questions that training asks too", len(texts), "questions") as bar:
        vectors = encoder.encode(texts, "query", bar.advance)
    rows = question_overlap(others, vectors[len(training) :], training, vectors[: len(training)])
    write_json(job.out / FILE, rows)


def read_documents(folder: Path, settings: CorpusConfig) -> list[Overlap]:
    """What the corpus artifact's audit says about the documents."""
    return [
        Overlap(
            f"word {WORDS}-grams of {row['split']} documents",
            f"{row['against']} documents",
            row["shared"],
            row["ngrams"],
            settings.audit_ngrams,
            tuple(f"{p['document']} and {p['repeats']} ({p['shared']} of {p['ngrams']})" for p in row["pairs"]),
        )
        for row in _read(folder)
    ]


def read_questions(folder: Path, settings: CorpusConfig) -> list[Overlap]:
    """What the audit stage's artifact says about the questions."""
    rows = _read(folder)
    found = []
    for origin, split in sorted({(row["origin"], row["split"]) for row in rows}):
        own = [row for row in rows if (row["origin"], row["split"]) == (origin, split)]
        alike = [row for row in own if row["cosine"] >= settings.audit_similarity]
        pairs = tuple(f"{row['question']!r} and {row['training']!r} ({row['cosine']:.2f})" for row in alike[:_NAMED])
        what = f"{origin} {split} questions"
        found.append(Overlap(what, "training questions", len(alike), len(own), settings.audit_questions, pairs))
    return found


def _read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / FILE).read_text("utf-8"))
    return rows


def report_rows(found: Iterable[Overlap]) -> list[dict[str, Any]]:
    """For report.json: each overlap with its share."""
    return [asdict(overlap) | {"share": overlap.share} for overlap in found]


def check_documents(found: Sequence[Overlap], say: Callable[[str], None]) -> None:
    """Say what the splits share, and refuse documents that share too much.

    Raises:
        UserError: An overlap is above its limit; the worst pairs are named.
    """
    _check(
        found,
        say,
        "corpus.audit_ngrams",
        "Take one of each pair out of the documents, or lower corpus.near_duplicate so that they fall into one split. "
        "If the text is boilerplate that answers no question, raise corpus.audit_ngrams.",
    )


def check_questions(found: Sequence[Overlap], say: Callable[[str], None]) -> None:
    """Say what the splits share, and refuse questions of which too many are asked in training.

    Raises:
        UserError: An overlap is above its limit; the most similar pairs are named.
    """
    _check(
        found,
        say,
        "corpus.audit_questions",
        "Take these questions out or ask them about other documents (human ones stand in the file of data.questions, "
        "training ones perhaps in that of embedding.pairs; another `seed` splits the documents anew). If they are "
        "alike by chance only, raise corpus.audit_similarity or corpus.audit_questions.",
    )


def _check(found: Sequence[Overlap], say: Callable[[str], None], key: str, fix: str) -> None:
    for overlap in found:
        say(f"audit: {overlap}")
    for overlap in found:
        if overlap.share > overlap.limit:
            why = f"{key} allows {overlap.limit:.1%}. The scores would flatter what was trained. Such as: "
            raise UserError(f"The splits overlap: {overlap}.", why + "; ".join(overlap.pairs) + ".", fix)
