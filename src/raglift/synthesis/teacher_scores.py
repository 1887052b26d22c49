"""The teacher stage: the scores that an embedding model is to learn, computed once for pairs and hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raglift import plugins
from raglift.artifacts import WORK, write_json
from raglift.config import PluginSpec
from raglift.corpus.stage import Corpus
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder
from raglift.synthesis.hard_negatives import save_pairs
from raglift.training.pairs import Pair
from raglift.training.teachers._base import Classroom, Teacher

VERSION = 1
_BLOCK = 64
"""Pairs that are scored between two lines of the journal."""


def teacher_of(spec: PluginSpec) -> Teacher:
    """The teacher that a config names, with its settings."""
    teacher: Teacher = plugins.load("teacher", spec.name)(**spec.settings)
    return teacher


def settings_of(spec: PluginSpec) -> list[object]:
    """What decides the scores: name, version, settings with their defaults, and the revisions of its models."""
    teacher = teacher_of(spec)
    return [spec.name, teacher.version, teacher.model_dump(mode="json"), *teacher.depends()]


def build(
    spec: PluginSpec,
    pairs: Sequence[Pair],
    corpus: Corpus,
    encoder: Encoder,
    store: FaissStore,
    runtime: Runtime,
    job: Job,
) -> None:
    """Write the dataset `pairs`, those with hard negatives scored, and funnel.json.

    What is scored is in a journal before the next block begins; an interrupted stage goes on from there.

    Args:
        encoder: The base embedding model.
        store: The base index.
    """
    asked = [row for row, pair in enumerate(pairs) if pair.negatives]
    journal = Journal(job.out / WORK / "scores.jsonl")
    room = Classroom([c.id for c in corpus.chunks], [c.text for c in corpus.chunks], encoder, store, runtime)
    score = None
    scored = list(pairs)
    with job.display.stage(f"scoring passages with {spec.name}", len(asked), "questions") as bar:
        for start in range(0, len(asked), _BLOCK):
            rows = asked[start : start + _BLOCK]
            if str(start) not in journal:
                score = score or teacher_of(spec).begin(room)
                journal.append(str(start), score([pairs[row] for row in rows]))
            for row, found in zip(rows, journal[str(start)], strict=True):
                scored[row] = replace(pairs[row], scores=tuple(found))
            bar.advance(len(rows))
    journal.close()
    save_pairs(scored, job.out / "pairs")
    funnel = [{"stage": "teacher", "reason": "questions scored by the teacher", "count": len(asked)}]
    write_json(job.out / "funnel.json", funnel)
