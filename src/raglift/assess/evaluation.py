"""Any LlamaIndex query engine or retriever, and answers made elsewhere, scored as raglift's own arms are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raglift.artifacts import write_json
from raglift.assess.judged import Judged
from raglift.assess.measures import Measures
from raglift.assess.ranking import UNMATCHED, rank_arms
from raglift.assess.replies import Arm
from raglift.assess.tables import Families, Scores, as_text, count, noninferiority_rows, summary_of
from raglift.config import EvaluationConfig, config_from_dict
from raglift.errors import UserError
from raglift.evaluation.prices import Spent, price_cells, prices
from raglift.evaluation.reasons import NO_ANSWER, NO_RANKING
from raglift.evaluation.response import score_answers
from raglift.evaluation.retrieval import score_rankings
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.progress import Progress
from raglift.records import Answered, QAPair, Score, read_jsonl, write_jsonl

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What the engines did with the questions, and how good that was.

    `print` shows the tables. With several engines, all but the first are held against the first.
    """

    questions: tuple[QAPair, ...]
    answered: tuple[Answered, ...]
    scores: Scores
    summary: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """`question_sets`, `retrieval`, `response`, `verdicts` as in report.json; `needed`, `failures`."""
        return self.summary

    def not_worse(self, margin: float) -> list[dict[str, Any]]:
        """Whether each engine is no worse than the first by more than `margin`, metric by metric."""
        return noninferiority_rows(self.scores, margin)

    def save(self, folder: str | Path) -> None:
        """Write the records and summary.json, as an evaluation stage does; `raglift compare` takes the folder."""
        out, name = Path(folder), self.scores.question_set
        out.mkdir(parents=True, exist_ok=True)
        write_jsonl(out / f"{name}-questions.jsonl", self.questions)
        write_jsonl(out / f"{name}-answered.jsonl", self.answered)
        write_jsonl(out / f"{name}-scores.jsonl", self.scores.values)
        write_json(out / SUMMARY, self.summary)

    def __str__(self) -> str:
        return as_text(self.summary)

    def __repr__(self) -> str:
        return f"<Evaluation of {', '.join(self.scores.families)} on {len(self.questions)} questions>"


def score_arms(judged: Judged, arms: Sequence[Arm], measures: Measures, display: Progress) -> Evaluation:
    """Score what came back.

    Retrieval metrics where an arm gives passages, response metrics where it answers. A question on which it failed is
    None with the reason. An arm of whose passages none at all is known to the question set has no retrieval score
    either: ids that do not fit are no bad ranking.

    Raises:
        UserError: Every arm failed on every question.
    """
    _refuse_nothing(arms)
    families: Families = {
        arm.name: {
            "retrieval": measures.retrieval if arm.retrieves else [],
            "response": measures.response if arm.answers else [],
        }
        for arm in arms
    }
    values: list[Score] = []
    answered: list[Answered] = []
    total = sum(len(names) for each in families.values() for names in each.values()) * len(judged.questions)
    rankings = rank_arms(judged, arms, display)
    with display.stage("scoring", total, "scores") as bar:
        for arm, found in zip(arms, rankings, strict=True):
            if arm.retrieves:
                ranked = score_rankings(
                    judged.questions, found.rankings, measures.retrieval, found.homes, arm.name, bar.advance
                )
                values += _with_reasons(ranked, arm, NO_RANKING, UNMATCHED if found.strange else "")
                found.warn(display)
            if arm.answers:
                answers = {qa_id: reply.answer for qa_id, reply in arm.replies.items()}
                scored = score_answers(
                    judged.questions, answers, measures.response, arm.name, measures.embed, bar.advance, found.shown
                )
                values += _with_reasons(scored, arm, NO_ANSWER)
            answered += found.answered()
    scores = Scores(
        judged.name,
        tuple(values),
        families,
        arms[0].name,
        Resampling(clusters(judged.questions), 0, measures.resamples),
    )
    return Evaluation(judged.questions, tuple(answered), scores, _summary(judged, arms, scores, measures, display))


def _with_reasons(scores: Sequence[Score], arm: Arm, missing: str, instead: str = "") -> list[Score]:
    """The scores, where one is `missing` with the reason that the engine gave; `instead` of values, if it is a text."""
    found = []
    for score in scores:
        reply = arm.replies.get(score.qa_id)
        if score.value is None and score.reason == missing and reply is not None and reply.failure:
            score = replace(score, reason=reply.failure)
        elif score.value is not None and instead:
            score = replace(score, value=None, reason=instead)
        found.append(score)
    return found


def _refuse_nothing(arms: Sequence[Arm]) -> None:
    replies = [reply for arm in arms for reply in arm.replies.values()]
    if all(reply.failure for reply in replies):
        failures = Counter(reply.failure for reply in replies)
        why = f"{failures.most_common(1)[0][0]} ({len(replies)} times)" if failures else "There is no reply at all."
        raise UserError("Every question failed, so that there is nothing to score.", why, "Mend what it says.")


def _summary(
    judged: Judged, arms: Sequence[Arm], scores: Scores, measures: Measures, display: Progress
) -> dict[str, Any]:
    total = count(scores.families, scores.against)
    with display.stage("comparing", total, "comparisons") as bar:
        found = summary_of(scores, bar)
    for arm in arms:
        spent = [
            Spent(qa_id, reply.seconds, reply.tokens_in, reply.tokens_out)
            for qa_id, reply in arm.replies.items()
            if not reply.failure
        ]
        cells = price_cells(prices(spent, measures.rates), len(spent), scores.resampling)
        family = found["response" if scores.families[arm.name]["response"] else "retrieval"]
        if cells:
            family.setdefault(judged.name, {}).setdefault(arm.name, {}).update(cells)
    failures = [
        {"arm": arm.name, "qa_id": qa_id, "reason": reply.failure}
        for arm in arms
        for qa_id, reply in sorted(arm.replies.items())
        if reply.failure
    ]
    about = {
        "origin": judged.questions[0].origin,
        "questions": len(judged.questions),
        "documents": len(set(scores.resampling.cluster.values())),
        "unanswerable": sum(not question.answerable for question in judged.questions),
        "kinds": dict(sorted(Counter(question.kind for question in judged.questions).items())),
    }
    return {"question_sets": {judged.name: about}, **found, "failures": failures}


def read_records(folder: Path, question_set: str) -> tuple[list[QAPair], list[Score]]:
    """The questions and scores that an evaluation stage, or `Evaluation.save`, wrote."""
    questions = read_jsonl(folder / f"{question_set}-questions.jsonl", QAPair)
    return questions, read_jsonl(folder / f"{question_set}-scores.jsonl", Score)


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary beside them.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        value: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / SUMMARY} is missing or damaged.", str(error), "Evaluate again.") from error
    return value


def evaluation_settings(given: Mapping[str, Any] | EvaluationConfig | None) -> EvaluationConfig:
    """A config's section `evaluation`, from the same keys.

    Raises:
        UserError: A key or a metric is unknown.
    """
    if given is None or isinstance(given, EvaluationConfig):
        return given or EvaluationConfig()
    return config_from_dict({"run": "evaluation", "data": {"documents": "none"}, "evaluation": dict(given)}).evaluation
