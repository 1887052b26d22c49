"""The fusion stage: how a dense ranking and BM25's become one, chosen on the development questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raglift.artifacts import write_json
from raglift.config import PluginSpec
from raglift.evaluation.retrieval import score_rankings
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense, Search
from raglift.index.fusing import candidates, fusion_of, shown, spec_of
from raglift.index.fusions._base import Fusion
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.records import QAPair

VERSION = 1
FILE = "fusion.json"
METRIC = "nDCG@10"
LEAST = 20
"""Development questions of a set below which it chooses nothing: they would choose by luck."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate: its mean score on the development questions, the gain over the default, and that gain's standard
    error; None where nothing was measured."""

    name: str
    dev: float | None = None
    gain: float | None = None
    error: float | None = None


def paired(scores: NDArray[np.float64], against: NDArray[np.float64]) -> tuple[float, float]:
    """The mean gain, question by question, and its standard error."""
    gains = scores - against
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def best_of(scores: NDArray[np.float64]) -> int:
    """The row that is best, where it beats row 0 by more than the standard error of the gain; else 0.

    Of equal rows the earliest.

    Args:
        scores: Shape (candidates, questions), at least two questions.
    """
    best = int(np.argmax(scores.mean(axis=1)))
    gain, error = paired(scores[best], scores[0])
    return best if gain > error else 0


def choosing_set(sets: Mapping[str, Sequence[QAPair]]) -> tuple[str, list[QAPair]]:
    """The first set with enough development questions that have evidence, and those; ("", []) if none has.

    People's questions come first: written ones repeat their passage's words, and would have BM25 count too much.

    Args:
        sets: Name -> questions of every split, in the order in which they are asked.
    """
    for name, questions in sets.items():
        usable = [question for question in questions if question.split == "dev" and question.evidence]
        if len(usable) >= LEAST:
            return name, usable
    return "", []


def per_question(
    questions: Sequence[QAPair], rankings: Sequence[Ranking], document_of: Mapping[str, str]
) -> NDArray[np.float64]:
    """nDCG@10 of each question, all of which have evidence."""
    found = dict(zip([question.id for question in questions], rankings, strict=True))
    return np.array([s.value or 0.0 for s in score_rankings(questions, found, [METRIC], document_of, "dev")])


def build(
    spec: PluginSpec,
    sets: Mapping[str, Sequence[QAPair]],
    dense: Dense,
    bm25: Bm25,
    depth: int,
    document_of: Mapping[str, str],
    job: Job,
) -> None:
    """Write fusion.json: what was chosen, by which questions, and everything that was tried.

    The default is chosen unless another is better by more than the standard error of the difference.

    Args:
        spec: What the config says; a fusion with all its parameters is not up for choice.
        sets: Question set -> questions; only those of the development split are looked at.
        depth: Ranks of each that are fused.
        document_of: Chunk id -> document id.
    """
    among = candidates(spec)
    name, questions = choosing_set(sets) if len(among) > 1 else ("", [])
    tried = [Tried(shown(*each)) for each in among[:1]]
    chosen = 0
    if questions:
        scores = _scores(among, questions, dense, bm25, depth, document_of, job)
        chosen = best_of(scores)
        tried = [
            Tried(shown(*each), float(row.mean()), *paired(row, scores[0]))
            for each, row in zip(among, scores, strict=True)
        ]
    found = tried[chosen]
    if found.dev is not None:
        job.display.say(
            f"  {found.name}: {METRIC} {found.dev:.4f}, {tried[0].name} {tried[0].dev:.4f} "
            f"({len(questions)} {name} development questions)"
        )
    value = {
        "chosen": found.name,
        "fusion": spec_of(*among[chosen]),
        "question_set": name or None,
        "questions": len(questions),
        "candidates": [asdict(each) for each in tried],
    }
    write_json(job.out / FILE, value)


def _scores(
    among: Sequence[tuple[str, Fusion]],
    questions: Sequence[QAPair],
    dense: Dense,
    bm25: Bm25,
    depth: int,
    document_of: Mapping[str, str],
    job: Job,
) -> NDArray[np.float64]:
    """nDCG@10 of every candidate on every question, shape (candidates, questions)."""
    texts = [question.question for question in questions]
    pairs = list(zip(dense.rankings([Search(t) for t in texts], depth), bm25.rankings(texts, depth), strict=True))
    rows = []
    with job.display.stage("choosing how rankings are fused", len(among), "fusions") as bar:
        for _, fusion in among:
            rows.append(per_question(questions, [fusion.fuse(*pair, depth) for pair in pairs], document_of))
            bar.advance()
    return np.stack(rows)


def read(folder: Path) -> dict[str, Any]:
    """fusion.json."""
    value: dict[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
    return value


def load(folder: Path) -> Fusion:
    """The fusion that was chosen."""
    ((name, settings),) = read(folder)["fusion"].items()
    return fusion_of(PluginSpec(name=name, settings=settings))
