"""The evaluation stage: every arm on every question set, scored, with intervals and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raglift.artifacts import WORK, write_json
from raglift.config import EvaluationConfig
from raglift.evaluation.answering import Limits, Pipelines, answer, rank, to_answer
from raglift.evaluation.arms import ARMS, BASE
from raglift.evaluation.response import score_answers
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.statistics import mean_interval
from raglift.evaluation.summary import table, verdicts
from raglift.journal import Journal
from raglift.models.encoder import Encoder
from raglift.progress import Progress
from raglift.records import Answered, QAPair, Score, write_jsonl

VERSION = 1
SECONDS = "seconds"


def build(
    settings: EvaluationConfig,
    limits: Limits,
    sets: Mapping[str, Sequence[QAPair]],
    pipelines: Pipelines,
    document_of: Mapping[str, str],
    similarity: Encoder,
    seed: int,
    display: Progress,
    out: Path,
) -> None:
    """Write summary.json, and for each question set SET-questions.jsonl, SET-answered.jsonl and SET-scores.jsonl.

    Args:
        sets: Question set -> test questions.
        document_of: Chunk id -> document id.
        similarity: The fixed embedding model behind semantic similarity.
    """
    summary: dict[str, Any] = {"question_sets": {}, "retrieval": {}, "response": {}, "verdicts": []}
    for name, questions in sets.items():
        if not questions:
            continue
        display.say(f"  {name}: {len(questions)} questions")
        journal = Journal(out / WORK / f"{name}.jsonl")
        rankings = rank(questions, pipelines, limits)
        asked = to_answer(questions, settings.max_answers, seed)
        answered = answer(questions, asked, rankings, pipelines, limits, journal, display)
        journal.close()
        retrieval = [
            score
            for arm, (by_question, _) in rankings.items()
            for score in score_rankings(questions, by_question, settings.retrieval, document_of, arm)
        ]
        response = _response(asked, answered, settings.response, similarity)
        write_jsonl(out / f"{name}-questions.jsonl", questions)
        write_jsonl(out / f"{name}-answered.jsonl", answered)
        write_jsonl(out / f"{name}-scores.jsonl", retrieval + response)
        _summarise(summary, name, questions, asked, answered, retrieval, response, settings, seed)
    write_json(out / "summary.json", summary)


def _response(
    asked: Sequence[QAPair], answered: Sequence[Answered], metrics: Sequence[str], similarity: Encoder
) -> list[Score]:
    found = []
    for arm in ARMS:
        if arm.llm != "none" and asked:
            answers = {item.qa_id: item.answer for item in answered if item.arm == arm.name}
            found += score_answers(asked, answers, metrics, arm.name, lambda texts: similarity.encode(texts, "passage"))
    return found


def clusters(questions: Sequence[QAPair]) -> dict[str, str]:
    """Question id -> the document of its first evidence; questions without evidence stand alone."""
    return {question.id: question.evidence[0].document_id for question in questions if question.evidence}


def _summarise(
    summary: dict[str, Any],
    name: str,
    questions: Sequence[QAPair],
    asked: Sequence[QAPair],
    answered: Sequence[Answered],
    retrieval: Sequence[Score],
    response: Sequence[Score],
    settings: EvaluationConfig,
    seed: int,
) -> None:
    cluster = clusters(questions)
    summary["question_sets"][name] = {
        "origin": questions[0].origin,
        "questions": len(questions),
        "documents": len(set(cluster.values())),
        "answered": len(asked),
        "unanswerable": sum(not question.answerable for question in questions),
        "kinds": dict(sorted(Counter(question.kind for question in questions).items())),
    }
    summary["retrieval"][name] = table(retrieval, settings.retrieval, cluster, seed=seed, resamples=settings.resamples)
    summary["response"][name] = table(response, settings.response, cluster, seed=seed, resamples=settings.resamples)
    _add_seconds(summary["response"][name], asked, answered, cluster, seed, settings.resamples)
    arms = [arm.name for arm in ARMS if arm.name != BASE]
    families = {
        arm.name: {
            "retrieval": settings.retrieval if arm.retrieval != "none" else [],
            "response": settings.response if arm.llm != "none" else [],
        }
        for arm in ARMS
    }
    found = verdicts(
        [*retrieval, *response], name, arms, BASE, families, cluster, seed=seed, resamples=settings.resamples
    )
    summary["verdicts"] += [{key: getattr(verdict, key) for key in verdict.__dataclass_fields__} for verdict in found]


def _add_seconds(
    cells: dict[str, Any],
    asked: Sequence[QAPair],
    answered: Sequence[Answered],
    cluster: Mapping[str, str],
    seed: int,
    resamples: int,
) -> None:
    """Seconds a question, retrieval and answer, as measured in batches: a price, not a metric to be tested."""
    ids = {question.id for question in asked}
    for arm in cells:
        values = {item.qa_id: item.seconds for item in answered if item.arm == arm and item.qa_id in ids}
        mean = mean_interval(values, cluster, seed=seed, resamples=resamples, bounds=(0, float("inf")))
        cells[arm][SECONDS] = {
            "value": mean.mean,
            "n": mean.n,
            "coverage": 1.0,
            "ci_low": mean.ci_low,
            "ci_high": mean.ci_high,
        }
