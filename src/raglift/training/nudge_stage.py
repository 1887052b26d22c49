"""The nudge stage: the tuned index with the vectors of its passages moved, or as it is if nothing beat that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raglift.artifacts import write_json
from raglift.index import stage as index_stage
from raglift.index.encoding import node
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.records import Chunk, QAPair
from raglift.training.embedding_stage import DevRanking
from raglift.training.nudge import Array, Kind, best_magnitude, moved, sums

VERSION = 3
FILE = "nudge.json"
BOUNDS = tuple(round(0.02 * step, 2) for step in range(1, 25))
"""As the authors try them for NUDGE-N."""


def build(
    kind: Kind,
    questions: Sequence[QAPair],
    dev: DevRanking,
    chunks: Sequence[Chunk],
    store: FaissStore,
    encoder: Encoder,
    embedding_key: str,
    job: Job,
) -> None:
    """Write the store and nudge.json (what was chosen, and every bound's score on the development split).

    Args:
        questions: What the vectors move toward: those of the train split alone.
        dev: Chooses the bound; 0, where nothing moves, is always a candidate.
        store: The index as it is.
        encoder: The model that encodes the questions.
    """
    place = {chunk.id: row for row, chunk in enumerate(chunks)}
    vectors = store.vectors([chunk.id for chunk in chunks])
    taught = [question for question in questions if question.split == "train"]
    answers = [[place[e.chunk_id] for e in q.evidence if e.chunk_id is not None] for q in taught]
    pulls = sums(encoder.encode([q.question for q in taught], "query"), answers, len(chunks))
    asked = [encoder.encode([q.question for q in questions], "query") for questions in dev.sets]
    bounds = BOUNDS if kind == "N" else (*BOUNDS, *_exact(dev, asked, place, vectors, pulls))
    scores = {"base": dev.score(asked, vectors)} if dev.sets else {}
    best, chosen, highest = vectors, "base", scores.get("base", 0.0)
    with job.display.stage("moving the vectors of passages", len(bounds), "bounds") as bar:
        for bound in sorted(set(bounds)) if scores else ():
            candidate = moved(kind, vectors, pulls, bound)
            name = f"NUDGE-{kind} {bound:.4g}"
            scores[name] = dev.score(asked, candidate)
            if scores[name] > highest:
                best, chosen, highest = candidate, name, scores[name]
            bar.advance(1)
    job.display.say(f"  {chosen} was best on the development split: {highest:.4f}")
    new = FaissStore(**store.settings())
    new.add_vectors([node(chunk) for chunk in chunks], best, unit=False)
    index_stage.copy(new, embedding_key, job)
    counts = {"questions": len(taught), "passages": int(np.any(pulls, axis=1).sum())}
    found = [{"name": name, "dev": score} for name, score in scores.items()]
    write_json(job.out / FILE, {"chosen": chosen, "candidates": found, **counts})


def _exact(
    dev: DevRanking, asked: Sequence[Array], place: dict[str, int], vectors: Array, pulls: Array
) -> tuple[float, ...]:
    """NUDGE-M's own bound, for the most right passages in the first rank."""
    if not dev.sets:
        return ()
    answers = [
        [place[e.chunk_id] for e in question.evidence if e.chunk_id is not None]
        for questions in dev.sets
        for question in questions
    ]
    return (best_magnitude(np.concatenate(asked), answers, vectors, pulls),)
