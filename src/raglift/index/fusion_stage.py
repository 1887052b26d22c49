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
    """One candidate: its mean score on the development questions, how far that lies behind the best one's, and the
    standard error of this difference; None where nothing was measured."""

    name: str
    dev: float | None = None
    behind: float | None = None
    error: float | None = None


def measured(names: Sequence[str], scores: NDArray[np.float64]) -> tuple[int, list[Tried]]:
    """What is chosen, and every candidate.

    Chosen is the first that lies no further behind the best than one standard error of the difference, question by
    question (the rule of Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, paired). So the
    default, which comes first, stays where nothing is measurably better, and with few questions.

    Args:
        scores: Shape (candidates, questions), at least two questions.
    """
    means = scores.mean(axis=1)
    behind = scores[int(np.argmax(means))] - scores
    errors = behind.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    chosen = int(np.flatnonzero(behind.mean(axis=1) <= errors)[0])
    rows = zip(names, means.tolist(), behind.mean(axis=1).tolist(), errors.tolist(), strict=True)
    return chosen, [Tried(*row) for row in rows]


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

    What is chosen is told by `measured`; the default where no set has enough questions.

    Args:
        spec: What the config says; a fusion with all its parameters is not up for choice.
        sets: Question set -> questions; only those of the development split are looked at.
        depth: Ranks of each that are fused.
        document_of: Chunk id -> document id.
    """
    among = candidates(spec)
    names = [shown(*each) for each in among]
    name, questions = choosing_set(sets) if len(among) > 1 else ("", [])
    chosen, tried = 0, [Tried(names[0])]
    if questions:
        chosen, tried = measured(names, _scores(among, questions, dense, bm25, depth, document_of, job))
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
