"""The evaluation stage: every arm on every question set, scored, with intervals and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raglift.artifacts import WORK, write_json
from raglift.config import EvaluationConfig
from raglift.evaluation.answering import Limits, Pipelines, Timed, answer, passages_of, rank, reword, to_answer
from raglift.evaluation.arms import BASE, Arm
from raglift.evaluation.judgements import Passage
from raglift.evaluation.prices import Rates, Spent, price_cells, prices
from raglift.evaluation.response import score_answers
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import table, verdicts
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.encoder import Encoder
from raglift.progress import Bar, Progress
from raglift.records import Answered, Chunk, QAPair, Score, write_jsonl

VERSION = 6


@dataclass(frozen=True, slots=True)
class _Scored:
    """A question set, what the arms did with it, and how good that was; `asked` are the questions with answers."""

    name: str
    questions: Sequence[QAPair]
    asked: Sequence[QAPair]
    answered: Sequence[Answered]
    retrieval: Sequence[Score]
    response: Sequence[Score]


def build(
    settings: EvaluationConfig,
    limits: Limits,
    sets: Mapping[str, Sequence[QAPair]],
    pipelines: Pipelines,
    chunks: Sequence[Chunk],
    similarity: Encoder,
    job: Job,
) -> None:
    """Write summary.json, and for each question set SET-questions.jsonl, SET-answered.jsonl and SET-scores.jsonl.

    Args:
        sets: Question set -> test questions.
        chunks: Every chunk of the index.
        similarity: The fixed embedding model behind semantic similarity.
    """
    summary: dict[str, Any] = {"question_sets": {}, "retrieval": {}, "response": {}, "verdicts": []}
    chunk_of = {chunk.id: chunk for chunk in chunks}
    for name, questions in sets.items():
        if not questions:
            continue
        job.display.say(f"  {name}: {len(questions)} questions")
        journal = Journal(job.out / WORK / f"{name}.jsonl")
        reworded = reword(questions, pipelines, journal, job.seed, job.display)
        rankings = rank(questions, pipelines, limits, job.display, reworded)
        asked = to_answer(questions, settings.max_answers, job.seed)
        answered = answer(questions, asked, rankings, pipelines, limits, journal, job.display)
        journal.close()
        retrieval = _retrieval(questions, rankings, settings.retrieval, chunk_of, job.display)
        writing = [arm for arm in pipelines.arms if arm.llm != "none"]
        read = {arm.name: passages_of(arm, asked, rankings, limits.top_k) for arm in writing}
        response = _response(asked, answered, settings.response, _shown(read, chunk_of), similarity, job.display)
        write_jsonl(job.out / f"{name}-questions.jsonl", questions)
        write_jsonl(job.out / f"{name}-answered.jsonl", answered)
        write_jsonl(job.out / f"{name}-scores.jsonl", [*retrieval, *response])
        scored = _Scored(name, questions, asked, answered, retrieval, response)
        _summarise(summary, scored, pipelines.arms, settings, job)
    write_json(job.out / "summary.json", summary)


def _retrieval(
    questions: Sequence[QAPair],
    rankings: Mapping[str, Timed],
    metrics: Sequence[str],
    chunks: Mapping[str, Chunk],
    display: Progress,
) -> list[Score]:
    document_of = {chunk.id: chunk.document_id for chunk in chunks.values()}
    spans = {chunk.id: (chunk.start, chunk.end) for chunk in chunks.values()}
    found: list[Score] = []
    with display.stage("scoring rankings", len(rankings) * len(metrics) * len(questions), "scores") as bar:
        for arm, (by_question, _) in rankings.items():
            found += score_rankings(questions, by_question, metrics, document_of, arm, bar.advance, spans)
    return found


def _shown(
    read: Mapping[str, Mapping[str, Sequence[str]]], chunks: Mapping[str, Chunk]
) -> dict[str, dict[str, list[Passage]]]:
    """Arm -> question id -> the passages that its answer was written from."""
    return {
        arm: {
            qa_id: [Passage(name, chunks[name].document_id) for name in names] for qa_id, names in by_question.items()
        }
        for arm, by_question in read.items()
    }


def _response(
    asked: Sequence[QAPair],
    answered: Sequence[Answered],
    metrics: Sequence[str],
    shown: Mapping[str, Mapping[str, Sequence[Passage]]],
    similarity: Encoder,
    display: Progress,
) -> list[Score]:
    """The scores of every arm that answers: those of `shown`."""
    found: list[Score] = []
    if not asked or not metrics:
        return found
    with display.stage("scoring answers", len(shown) * len(metrics) * len(asked), "scores") as bar:
        count = _Count(bar, len(asked))

        def embed(texts: list[str]) -> NDArray[np.float32]:
            return similarity.encode(texts, "passage", lambda n: count.encoded(n, len(texts)))

        for arm, passages in shown.items():
            answers = {item.qa_id: item.answer for item in answered if item.arm == arm}
            found += score_answers(asked, answers, metrics, arm, embed, count.scored, passages)
    return found


class _Count:
    """A bar of scores. While texts are encoded for one metric's scores it moves by their share of them.

    Args:
        scores: Scores a metric and arm.
    """

    def __init__(self, bar: Bar, scores: int) -> None:
        self._bar, self._scores, self._ahead = bar, scores, 0

    def encoded(self, texts: int, of: int) -> None:
        """Some more of a metric's texts have their vectors."""
        step = min(self._scores * texts // of, self._scores - self._ahead)
        self._ahead += step
        self._bar.advance(step)

    def scored(self, scores: int) -> None:
        """The metric is done."""
        self._bar.advance(scores - self._ahead)
        self._ahead = 0


def clusters(questions: Sequence[QAPair]) -> dict[str, str]:
    """Question id -> the document of its first evidence; questions without evidence stand alone."""
    return {question.id: question.evidence[0].document_id for question in questions if question.evidence}


def _summarise(
    summary: dict[str, Any], scored: _Scored, arms: Sequence[Arm], settings: EvaluationConfig, job: Job
) -> None:
    name, questions, response = scored.name, scored.questions, scored.response
    cluster = clusters(questions)
    summary["question_sets"][name] = {
        "origin": questions[0].origin,
        "questions": len(questions),
        "documents": len(set(cluster.values())),
        "answered": len(scored.asked),
        "unanswerable": sum(not question.answerable for question in questions),
        "kinds": dict(sorted(Counter(question.kind for question in questions).items())),
    }
    resampling = Resampling(cluster, job.seed, settings.resamples)
    measured = {
        arm.name: {
            "retrieval": settings.retrieval if arm.retrieval != "none" else [],
            "response": settings.response if arm.llm != "none" and response else [],
        }
        for arm in arms
    }
    metrics = {arm: sum(map(len, families.values())) for arm, families in measured.items()}
    priced = sum(bool(families["response"]) for families in measured.values())
    # A cell of a table for every arm and metric, the prices of an answer, and all but the base against the base.
    total = 2 * sum(metrics.values()) - metrics[BASE] + priced
    with job.display.stage("comparing arms", total, "comparisons") as bar:
        summary["retrieval"][name] = table(scored.retrieval, settings.retrieval, resampling, bar.advance)
        summary["response"][name] = table(response, settings.response, resampling, bar.advance)
        _add_prices(summary["response"][name], scored, resampling, bar.advance)
        both = [*scored.retrieval, *response]
        found = verdicts(both, name, BASE, measured, resampling, advance=bar.advance)
    summary["verdicts"] += [{key: getattr(verdict, key) for key in verdict.__dataclass_fields__} for verdict in found]


def _add_prices(cells: dict[str, Any], scored: _Scored, resampling: Resampling, advance: Callable[[int], None]) -> None:
    """Seconds and tokens; money is counted where the summary is read (`costs`)."""
    ids = {question.id for question in scored.asked}
    for arm in cells:
        spent = [
            Spent(item.qa_id, item.seconds, item.tokens_in, item.tokens_out)
            for item in scored.answered
            if item.arm == arm and item.qa_id in ids
        ]
        cells[arm] |= price_cells(prices(spent, Rates()), len(spent), resampling)
        advance(1)
