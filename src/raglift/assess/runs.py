"""Finished runs on the questions that they share: a leaderboard, and one set-up trained from several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from raglift.assess.sheets import CHOSEN, Sheet, shared_sheets
from raglift.assess.tables import Scores, as_text, count, lower_is_better, noninferiority_rows, summary_of
from raglift.evaluation.arms import BASE
from raglift.evaluation.inference import across_seeds
from raglift.evaluation.scale import scale_of
from raglift.progress import Progress
from raglift.serve.result import RunResult

ALL = "all"


@dataclass(frozen=True, slots=True, repr=False)
class Leaderboard:
    """Arms of several runs on the questions that the runs share, the best first; `print` shows the tables."""

    summary: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """`question_sets`, `retrieval`, `response`, `verdicts` and `needed`; `noninferiority` with a margin."""
        return self.summary

    def __str__(self) -> str:
        return as_text(self.summary)

    def __repr__(self) -> str:
        return f"<Leaderboard over {', '.join(self.summary['question_sets'])} questions>"


def compare_runs(
    runs: Sequence[RunResult | str | Path],
    arm: str = CHOSEN,
    margin: float | None = None,
    workspace: str | Path = "indexes",
    display: Progress | None = None,
) -> Leaderboard:
    """Hold finished runs against the first one, question by question, on what all of them were asked.

    A question is the same where its id and its text are. Each set is taken apart from the others. p-values are
    corrected by Holm's method over the metrics of one arm and family, as within a run.

    Args:
        runs: Names or folders of finished runs, or folders of evaluations; all are held against the first.
        arm: The arm of each that is compared: "chosen" is the one that would be released, "all" takes all of them.
        margin: Also say which are no worse than the first by more than this.

    Raises:
        UserError: Fewer than two arms are left to compare, the runs have no question in common, or there is no such
            run or arm.

    Example:
        >>> print(raglift.compare_runs(["minilm", "bge"]))
    """
    display = display or Progress()
    total: dict[str, Any] = {"question_sets": {}, "retrieval": {}, "response": {}, "verdicts": [], "needed": []}
    total |= {} if margin is None else {"noninferiority": []}
    for name, sheets in shared_sheets(runs, workspace, display).items():
        scores = _together(name, sheets, arm)
        with display.stage(f"comparing {name}", count(scores.families, scores.against), "comparisons") as bar:
            found = summary_of(scores, bar)
        questions = sheets[0].questions.values()
        documents = len({scores.resampling.cluster.get(question.id, question.id) for question in questions})
        total["question_sets"][name] = {"questions": len(questions), "documents": documents}
        for family in ("retrieval", "response"):
            total[family] |= {key: _best_first(rows) for key, rows in found[family].items()}
        total["verdicts"] += found["verdicts"]
        total["needed"] += found["needed"]
        if margin is not None:
            total["noninferiority"] += noninferiority_rows(scores, margin)
    return Leaderboard(total)


def compare_seeds(
    runs: Sequence[RunResult | str | Path],
    arm: str = CHOSEN,
    against: str = BASE,
    workspace: str | Path = "indexes",
    display: Progress | None = None,
) -> list[dict[str, Any]]:
    """Runs that differ in their seed alone: how much of an arm's lift is the luck of a training.

    Args:
        runs: Two or more.
        arm: Whose lift, in every run.
        against: The arm of the same run that it is held against.

    Returns:
        A row a question set and metric, with what `AcrossSeeds` holds.

    Raises:
        UserError: As `compare_runs`, or there are too few documents.
    """
    rows = []
    for name, sheets in shared_sheets(runs, workspace, display or Progress()).items():
        arms = [(sheet.arm(arm), sheet.arm(against)) for sheet in sheets]
        per_run = [
            [m for metrics in sheet.families[ours].values() for m in metrics]
            for sheet, (ours, _) in zip(sheets, arms, strict=True)
        ]
        for metric in dict.fromkeys(per_run[0]):
            differences = {
                f"{place}": _lift(sheet.as_scores(name, theirs), ours, metric)
                for place, (sheet, (ours, theirs)) in enumerate(zip(sheets, arms, strict=True))
            }
            if all(differences.values()) and scale_of(metric).judged:
                found = across_seeds(differences, sheets[0].resampling, span=scale_of(metric).span)
                rows.append({"question_set": name, "metric": metric, "arm": arm, "against": against} | asdict(found))
    return rows


def _lift(scores: Scores, arm: str, metric: str) -> dict[str, float]:
    ours, theirs = scores.column(arm, metric), scores.column(scores.against, metric)
    return {qa_id: ours[qa_id] - theirs[qa_id] for qa_id in ours.keys() & theirs.keys()}


def _together(name: str, sheets: Sequence[Sheet], arm: str) -> Scores:
    """All arms that are compared under names of their own, on the questions that each family has scores of in all."""
    taken = {
        (sheet.run, each): f"{sheet.run}/{each}"
        for sheet in sheets
        for each in (sheet.families if arm == ALL else [sheet.arm(arm)])
    }
    families = {
        taken[sheet.run, each]: sheet.families[each]
        for sheet in sheets
        for each in sheet.families
        if (sheet.run, each) in taken
    }
    values = [
        replace(score, arm=taken[sheet.run, score.arm])
        for sheet in sheets
        for score in sheet.scores
        if (sheet.run, score.arm) in taken
    ]
    asked: dict[str, dict[str, set[str]]] = {}
    for score in values:
        asked.setdefault(score.metric, {}).setdefault(score.arm, set()).add(score.qa_id)
    common = {metric: set.intersection(*by_arm.values()) for metric, by_arm in asked.items()}
    kept = tuple(score for score in values if score.qa_id in common[score.metric])
    return Scores(name, kept, families, next(iter(families)), sheets[0].resampling)


def _best_first(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rows by their first metric; arms without a value come last."""
    metric = next((name for cells in rows.values() for name in cells), "")
    sign = 1 if lower_is_better(metric) else -1

    def key(arm: str) -> tuple[bool, float]:
        found = rows[arm].get(metric, {}).get("value")
        return found is None, 0.0 if found is None else sign * float(found)

    return {arm: rows[arm] for arm in sorted(rows, key=key)}
