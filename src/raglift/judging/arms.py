"""What a judge that is believed says of every arm's answers, corrected for its errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raglift.evaluation.arms import BASE
from raglift.evaluation.reasons import NOT_APPLICABLE
from raglift.evaluation.statistics import Resampling, compare, decide, holm
from raglift.journal import Journal
from raglift.judging.correction import correct, correct_difference
from raglift.judging.health import Health, examine
from raglift.judging.items import Item
from raglift.judging.judge import Judge, Judgement
from raglift.judging.known import beside
from raglift.judging.questions._base import ABSTAINED, NO_CONTEXT, NO_OTHER, JudgeQuestion
from raglift.progress import Progress
from raglift.records import Score

_BESIDE_THE_POINT = NOT_APPLICABLE | {ABSTAINED, NO_CONTEXT, NO_OTHER}
"""Reasons for which nothing is missing: what was asked has no meaning for the item."""

Arms = Mapping[str, Sequence[Item]]
Questions = Mapping[str, JudgeQuestion]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a judge is tested, and how its figures are drawn.

    Attributes:
        known: Items with right answers.
        items: Right ones to test it on, and as many wrong ones.
        floor: Youden's J that the lower end of its interval must be above.
        resamplings: Question set -> how its intervals are drawn.
    """

    known: Sequence[Item]
    items: int
    floor: float
    resamplings: Mapping[str, Resampling]
    seed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it: the health for every question, and for those that are believed the scores and their summary."""

    health: Mapping[str, Health]
    scores: Mapping[str, Sequence[Score]]
    cells: dict[str, dict[str, dict[str, Any]]]
    differences: list[dict[str, Any]]


def judge_arms(
    judge: Judge, questions: Questions, sets: Mapping[str, Arms], trial: Trial, journal: Journal, display: Progress
) -> Judged:
    """Test the judge on each question; where it is believed, ask it about every arm's answers.

    Args:
        sets: Question set -> arm -> its items, of the same questions for all arms.
        journal: What was asked before, and is not asked again.

    Raises:
        UserError: The model failed; what it had said before is in the journal.
    """
    health = _tested(judge, questions, trial, journal, display)
    believed = {name: question for name, question in questions.items() if health[name].believed}
    scores: dict[str, list[Score]] = {}
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    differences: list[dict[str, Any]] = []
    for name, arms in sets.items():
        said = _asked(judge, believed, arms, name, journal, display)
        scores[name] = [
            Score(f"judge_{question}", item.id, arm, each.value, each.reason)
            for (arm, question), judgements in said.items()
            for item, each in zip(arms[arm], judgements, strict=True)
        ]
        resampling = trial.resamplings[name]
        cells[name] = {arm: {} for arm in arms}
        for (arm, question), judgements in said.items():
            cells[name][arm][question] = _cell(arms[arm], judgements, resampling, health[question])
        differences += _differences(arms, said, resampling, health, name)
    return Judged(health, scores, cells, differences)


def _tested(judge: Judge, questions: Questions, trial: Trial, journal: Journal, display: Progress) -> dict[str, Health]:
    examples = {name: q.examples(trial.known, trial.items, trial.seed) for name, q in questions.items()}
    with display.stage("testing the judge", sum(map(len, examples.values())), "known answers") as bar:
        return {
            name: examine(judge, question, examples[name], trial.floor, journal, bar.advance)
            for name, question in questions.items()
        }


def _asked(
    judge: Judge, questions: Questions, arms: Arms, name: str, journal: Journal, display: Progress
) -> dict[tuple[str, str], list[Judgement]]:
    """(arm, question) -> judgements. A question that compares is asked of all arms but the base, against it."""
    wanted = [
        (arm, question)
        for question in questions
        for arm in arms
        if not questions[question].compares or (arm != BASE and BASE in arms)
    ]
    found: dict[tuple[str, str], list[Judgement]] = {}
    if not wanted:
        return found
    with display.stage(f"judging {name}", sum(len(arms[arm]) for arm, _ in wanted), "answers") as bar:
        for arm, question in wanted:
            items = beside(arms[arm], arms[BASE]) if questions[question].compares else arms[arm]
            found[arm, question] = judge.judge(questions[question], items, journal, bar.advance)
    return found


def _cell(items: Sequence[Item], said: Sequence[Judgement], resampling: Resampling, health: Health) -> dict[str, Any]:
    """An arm's share: as judged, corrected, and bounded over what was not judged."""
    values = _values(items, said)
    missing = Counter(each.reason for each in said if each.value is None)
    failed = [i.id for i, j in zip(items, said, strict=True) if j.value is None and j.reason not in _BESIDE_THE_POINT]
    applies = len(values) + len(failed)
    worst, best = (correct(values | dict.fromkeys(failed, end), resampling.cluster, health).value for end in (0.0, 1.0))
    return {
        **asdict(correct(values, resampling.cluster, health)),
        "coverage": len(values) / applies if applies else 1.0,
        "worst": worst,
        "best": best,
        "missing": dict(sorted(missing.items())),
    }


def _values(items: Sequence[Item], said: Sequence[Judgement]) -> dict[str, float]:
    return {item.id: each.value for item, each in zip(items, said, strict=True) if each.value is not None}


def _differences(
    arms: Arms,
    said: Mapping[tuple[str, str], Sequence[Judgement]],
    resampling: Resampling,
    health: Mapping[str, Health],
    name: str,
) -> list[dict[str, Any]]:
    """Every arm against the base on the questions that both have a value for; p corrected over an arm's questions."""
    found: list[dict[str, Any]] = []
    for arm in arms:
        both = [q for a, q in said if a == arm and arm != BASE and (BASE, q) in said]
        rows: list[dict[str, Any]] = []
        for question in both:
            one, base = (_values(arms[each], said[each, question]) for each in (arm, BASE))
            difference = correct_difference(compare(one, base, resampling), health[question])
            about = {"question_set": name, "question": question, "arm": arm, "against": BASE}
            rows.append(about | asdict(difference))
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p"] = p
            row["decision"] = decide(row["ci_low"], row["ci_high"], p)
        found += rows
    return found
