"""Scores turned into the report's tables and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypedDict

from raglift.evaluation.reasons import NOT_APPLICABLE
from raglift.evaluation.statistics import Comparison, Resampling, compare, decide, holm, mean_interval
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
    resampling: Resampling,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, Cell]]:
    """Arm -> metric -> cell for one question set, arms in the order of their first score.

    A metric for which an arm has no score at all, not even None, is left out of the arm's row.

    Args:
        scores: Of one question set, values in [0, 1].
        metrics: Which metrics, in the order of the columns.
        advance: Told how many more cells are done.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for arm, columns in _by_arm_and_metric(scores).items():
        rows[arm] = {}
        for metric in metrics:
            if metric in columns:
                rows[arm][metric] = _cell(columns[metric].values(), resampling)
                advance(1)
    return rows


def verdicts(
    scores: Iterable[Score],
    question_set: str,
    against: str,
    metrics_by_arm: Mapping[str, Mapping[str, Sequence[str]]],
    resampling: Resampling,
    *,
    alpha: float = 0.05,
    lower_is_better: Collection[str] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """Every arm held against one other, metric by metric, over the questions that both have a value for.

    p-values are corrected by Holm's method over the metrics of one arm and family; families stand apart because
    retrieval and response metrics answer two questions. A metric that was not measured in both arms, or applies to
    no question of the set, gives no verdict; one that applies but failed everywhere gives "cannot tell" with n = 0.

    Args:
        scores: Of one question set, values in [0, 1].
        metrics_by_arm: Arm -> family ("retrieval", "response") -> metrics to judge it on, in the order of the result;
            `against` itself is skipped.
        alpha: The largest corrected p that still decides.
        lower_is_better: Metrics in which a negative difference is "better".
        advance: Told how many more metrics of `metrics_by_arm` are done, those without a verdict too.
    """
    found = _by_arm_and_metric(scores)
    result: list[Verdict] = []
    for arm, families in metrics_by_arm.items():
        if arm == against:
            continue
        for metrics in families.values():
            compared = _compare(found.get(arm, {}), found.get(against, {}), metrics, resampling, advance)
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
    resampling: Resampling,
    advance: Callable[[int], None],
) -> dict[str, Comparison]:
    """Metric -> difference, for the metrics that both arms have scores of."""
    compared = {}
    for metric in metrics:
        a, b = ours.get(metric, {}), theirs.get(metric, {})
        if _applies(a) and _applies(b):
            compared[metric] = compare(_values(a.values()), _values(b.values()), resampling)
        advance(1)
    return compared


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


def _cell(scores: Collection[Score], resampling: Resampling) -> Cell:
    values = _values(scores)
    failed = sum(score.value is None and score.reason not in NOT_APPLICABLE for score in scores)
    applicable = len(values) + failed
    total = sum(values.values())
    interval = mean_interval(values, resampling)
    return Cell(
        value=interval.mean,
        n=len(values),
        coverage=len(values) / applicable if applicable else 1.0,
        ci_low=interval.ci_low if values else None,
        ci_high=interval.ci_high if values else None,
        worst=total / applicable if applicable else None,
        best=(total + failed) / applicable if applicable else None,
    )
