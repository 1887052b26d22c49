"""Scores turned into the report's tables and verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypedDict

from raglift.evaluation.reasons import NOT_APPLICABLE
from raglift.evaluation.statistics import Comparison, compare, decide, holm, mean_interval
from raglift.records import Score, Verdict


class Cell(TypedDict):
    """One arm's mean of one metric over a question set.

    `value` is the mean over the `n` questions that were scored and `ci_low`/`ci_high` its 95% interval, all three
    None where `n` is 0. `coverage` is the share of the questions to which the metric applies that were scored, 1.0
    where it applies to none. `worst` and `best` bound the mean over all questions to which it applies, with 0 and 1
    in place of the missing scores.
    """

    value: float | None
    n: int
    coverage: float
    ci_low: float | None
    ci_high: float | None
    worst: float | None
    best: float | None


def table(
    scores: Iterable[Score],
    metrics: Sequence[str],
    cluster: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, dict[str, Cell]]:
    """Arm -> metric -> cell for one question set, arms in the order of their first score.

    A metric for which an arm has no score at all, not even None, is left out of the arm's row.

    Args:
        scores: Of one question set, values in [0, 1].
        metrics: Which metrics, in the order of the columns.
        cluster: Question id -> its document; without it, every question is a cluster of its own.
    """
    found = _by_arm_and_metric(scores)
    return {
        arm: {
            metric: _cell(columns[metric].values(), cluster or {}, seed, resamples)
            for metric in metrics
            if metric in columns
        }
        for arm, columns in found.items()
    }


def verdicts(
    scores: Iterable[Score],
    question_set: str,
    arms: Sequence[str],
    against: str,
    metrics_by_arm: Mapping[str, Mapping[str, Sequence[str]]],
    cluster: Mapping[str, str],
    seed: int = 0,
    resamples: int = 2000,
    *,
    alpha: float = 0.05,
    lower_is_better: Collection[str] = (),
) -> list[Verdict]:
    """Every arm held against one other, metric by metric, over the questions that both have a value for.

    p-values are corrected by Holm's method over the metrics of one arm and family; families stand apart because
    retrieval and response metrics answer two questions. A metric that was not measured in both arms, or applies to
    no question of the set, gives no verdict; one that applies but failed everywhere gives "cannot tell" with n = 0.

    Args:
        scores: Of one question set, values in [0, 1].
        arms: Which arms, in the order of the result; `against` itself is skipped.
        metrics_by_arm: Arm -> family ("retrieval", "response") -> metrics to judge it on.
        cluster: Question id -> its document; a question without one is a cluster of its own.
        alpha: The largest corrected p that still decides.
        lower_is_better: Metrics in which a negative difference is "better".
    """
    found = _by_arm_and_metric(scores)
    result: list[Verdict] = []
    for arm in arms:
        if arm == against:
            continue
        for metrics in metrics_by_arm.get(arm, {}).values():
            compared = _compare(found.get(arm, {}), found.get(against, {}), metrics, cluster, seed, resamples)
            adjusted = holm([each.p for each in compared.values()])
            for (metric, each), p in zip(compared.items(), adjusted, strict=True):
                better = metric not in lower_is_better
                decision = decide(each.ci_low, each.ci_high, p, alpha=alpha, higher_is_better=better)
                numbers = (each.delta, each.ci_low, each.ci_high, p, each.detectable, each.n)
                result.append(Verdict(question_set, metric, arm, against, *numbers, decision))
    return result


def _compare(
    ours: Mapping[str, Mapping[str, Score]],
    theirs: Mapping[str, Mapping[str, Score]],
    metrics: Sequence[str],
    cluster: Mapping[str, str],
    seed: int,
    resamples: int,
) -> dict[str, Comparison]:
    """Metric -> difference, for the metrics that both arms have scores of."""
    return {
        metric: compare(
            _values(ours[metric].values()), _values(theirs[metric].values()), cluster, resamples=resamples, seed=seed
        )
        for metric in metrics
        if _applies(ours.get(metric, {})) and _applies(theirs.get(metric, {}))
    }


def _by_arm_and_metric(scores: Iterable[Score]) -> dict[str, dict[str, dict[str, Score]]]:
    """Arm -> metric -> question id -> score; the last one counts where a score is repeated."""
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for score in scores:
        found.setdefault(score.arm, {}).setdefault(score.metric, {})[score.qa_id] = score
    return found


def _applies(column: Mapping[str, Score]) -> bool:
    return any(score.value is not None or score.reason not in NOT_APPLICABLE for score in column.values())


def _values(scores: Iterable[Score]) -> dict[str, float]:
    return {score.qa_id: score.value for score in scores if score.value is not None}


def _cell(scores: Collection[Score], cluster: Mapping[str, str], seed: int, resamples: int) -> Cell:
    values = _values(scores)
    failed = sum(score.value is None and score.reason not in NOT_APPLICABLE for score in scores)
    applicable = len(values) + failed
    total = sum(values.values())
    interval = mean_interval(values, cluster, resamples=resamples, seed=seed)
    return Cell(
        value=interval.mean,
        n=len(values),
        coverage=len(values) / applicable if applicable else 1.0,
        ci_low=interval.ci_low if values else None,
        ci_high=interval.ci_high if values else None,
        worst=total / applicable if applicable else None,
        best=(total + failed) / applicable if applicable else None,
    )
