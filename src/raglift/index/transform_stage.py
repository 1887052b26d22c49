"""The transforms stage: whether putting questions in other words pays, on the development questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from raglift.artifacts import WORK, write_json
from raglift.index.first_stage import FirstStage, asked
from raglift.index.fusion_stage import METRIC, Tried, choosing_set, measured, per_question
from raglift.index.rewording import Write, journalled
from raglift.index.transforms._base import QueryTransform
from raglift.job import Job
from raglift.journal import Journal
from raglift.records import QAPair

VERSION = 1
FILE = "transforms.json"
AS_IT_IS = "as it is"


def build(
    transforms: Mapping[str, QueryTransform],
    sets: Mapping[str, Sequence[QAPair]],
    first: FirstStage,
    write: Write,
    document_of: Mapping[str, str],
    job: Job,
) -> None:
    """Write transforms.json: every transform's score, and what was best.

    A question as it is stays the choice unless a transform is better by more than the standard error of the difference.

    Args:
        sets: Question set -> questions; only those of the development split are looked at.
        write: By the language model that the job's key names.
        document_of: Chunk id -> document id.
    """
    name, questions = choosing_set(sets)
    tried, chosen = [Tried(AS_IT_IS)], AS_IT_IS
    if questions:
        texts = [question.question for question in questions]
        journal = Journal(job.out / WORK / "texts.jsonl")
        searches = journalled(transforms, texts, write, journal, job.display)
        journal.close()
        rankings = [first.rankings(each, first.depth) for each in (asked(texts), *searches.values())]
        scores = np.stack([per_question(questions, each, document_of) for each in rankings])
        best, tried = measured([AS_IT_IS, *searches], scores)
        chosen = tried[best].name
        for each in tried:
            job.display.say(f"  {each.name}: {METRIC} {each.dev:.4f}")
    value = {
        "chosen": chosen,
        "question_set": name or None,
        "questions": len(questions),
        "candidates": [asdict(each) for each in tried],
    }
    write_json(job.out / FILE, value)
