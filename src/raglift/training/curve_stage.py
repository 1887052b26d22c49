"""The learning curve's figures on the test questions, which none of its trainings has seen and none is chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from raglift.artifacts import write_json
from raglift.corpus.stage import Corpus
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import table
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import FoundModel
from raglift.records import QAPair, Score
from raglift.training.embedding_stage import METRIC

VERSION = 1
FILE = "curve.json"
BASE = "base"
_DEPTH = 10


def build(
    models: Mapping[str, Path | None],
    sets: Mapping[str, Sequence[QAPair]],
    corpus: Corpus,
    base: FoundModel,
    runtime: Runtime,
    resamples: int,
    job: Job,
) -> None:
    """Write curve.json: `metric`, and `sets`: question set -> "base" or a model's name -> mean with its 95% interval.

    Args:
        models: Name -> folder of a tuned embedding model; None: the base, whose figures it has.
        sets: Test questions; a set without any is left out.
    """
    asked = {name: [question for question in questions if question.evidence] for name, questions in sets.items()}
    asked = {name: questions for name, questions in asked.items() if questions}
    tuned = {BASE: None, **{name: folder for name, folder in models.items() if folder is not None}}
    scores: dict[str, list[Score]] = {name: [] for name in asked}
    with job.display.stage("scoring the learning curve", len(corpus.chunks) * len(tuned), "chunks") as bar:
        for model, folder in tuned.items():
            encoder = Encoder(load_encoder(base.path, runtime, folder), runtime)
            passages = encoder.encode([chunk.text for chunk in corpus.chunks], "passage", bar.advance)
            for name, questions in asked.items():
                vectors = encoder.encode([question.question for question in questions], "query")
                scores[name] += _scores(questions, vectors @ passages.T, corpus, model)
    same = [name for name, folder in models.items() if folder is None]
    found = {}
    for name, questions in asked.items():
        every = scores[name] + [replace(s, arm=model) for model in same for s in scores[name] if s.arm == BASE]
        cells = table(every, [METRIC], Resampling(clusters(questions), job.seed, resamples))
        found[name] = {model: cells[model][METRIC] for model in (BASE, *models)}
    write_json(job.out / FILE, {"metric": METRIC, "sets": found})


def _scores(questions: Sequence[QAPair], similar: np.ndarray, corpus: Corpus, model: str) -> list[Score]:
    """A score a question, from similarities (questions, chunks)."""
    best = np.argsort(-similar, axis=1, kind="stable")[:, :_DEPTH]
    rankings: dict[str, Ranking] = {
        question.id: tuple((corpus.chunks[row].id, float(line[row])) for row in rows)
        for question, rows, line in zip(questions, best, similar, strict=True)
    }
    document_of = {chunk.id: chunk.document_id for chunk in corpus.chunks}
    return score_rankings(questions, rankings, [METRIC], document_of, model)
