"""The teacher stage: the scores that an embedding model is to learn, computed once for pairs and hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raglift import plugins
from raglift.artifacts import WORK, write_json
from raglift.config import PluginSpec
from raglift.corpus.stage import Corpus
from raglift.index.bm25 import Bm25
from raglift.index.searchable import Searchable
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.device import Runtime
from raglift.synthesis.hard_negatives import save_pairs
from raglift.training.pairs import Pair, passages_by_id
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
    base: Searchable,
    runtime: Runtime,
    job: Job,
) -> None:
    """Write the dataset `pairs`, those with hard negatives scored, and funnel.json.

    What is scored is in a journal before the next block begins; an interrupted stage goes on from there.

    Args:
        base: What a teacher may ask beside its own model.
    """
    asked = [row for row, pair in enumerate(pairs) if pair.negatives]
    journal = Journal(job.out / WORK / "scores.jsonl")
    room = _room(pairs, corpus, base, runtime)
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


def _room(pairs: Sequence[Pair], corpus: Corpus, base: Searchable, runtime: Runtime) -> Classroom:
    """The chunks, and beside them the passages of pairs that are none, so that words are weighed among all of them."""
    ids, texts = [chunk.id for chunk in corpus.chunks], [chunk.text for chunk in corpus.chunks]
    known = set(ids)
    further = {name: text for name, text in passages_by_id(pairs).items() if name not in known}
    if further:
        ids, texts = [*ids, *further], [*texts, *further.values()]
        base = replace(base, bm25=Bm25(ids, texts, base.bm25.language))
    return Classroom(ids, texts, base, runtime)
