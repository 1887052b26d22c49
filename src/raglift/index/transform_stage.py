"""The transforms stage: whether putting questions in other words pays, on the development questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from raglift.artifacts import WORK, write_json
from raglift.index.first_stage import FirstStage, asked
from raglift.index.fusion_stage import METRIC, Tried, choosing_set, paired, per_question
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

    A question as it is stays the choice unless a transform's gain is more than the standard error of that gain.

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
        plain = per_question(questions, first.rankings(asked(texts), first.depth), document_of)
        tried = [Tried(AS_IT_IS, float(plain.mean()), 0.0, 0.0)]
        for which, found in searches.items():
            scores = per_question(questions, first.rankings(found, first.depth), document_of)
            tried.append(Tried(which, float(scores.mean()), *paired(scores, plain)))
            job.display.say(f"  {which}: {METRIC} {scores.mean():.4f}, {AS_IT_IS} {plain.mean():.4f}")
        best = max(tried, key=lambda each: each.gain or 0.0)
        chosen = best.name if (best.gain or 0.0) > (best.error or 0.0) else AS_IT_IS
    value = {
        "chosen": chosen,
        "question_set": name or None,
        "questions": len(questions),
        "candidates": [asdict(each) for each in tried],
    }
    write_json(job.out / FILE, value)
