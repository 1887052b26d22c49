"""Scores turned into the report's tables and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypedDict

from raglift.evaluation.reasons import NOT_APPLICABLE
from raglift.evaluation.scale import Scale, finite, scale_of
from raglift.evaluation.statistics import Comparison, Resampling, compare, decide, holm, mean_interval
from raglift.records import Score, Verdict


class Cell(TypedDict):
    """One arm's mean of one metric over a question set.

    `value` is the mean over the `n` questions that were scored and `ci_low`/`ci_high` its 95% interval, all three
    None where `n` is 0; an end of the interval that nothing bounds is None too. `coverage` is the share of the
    questions to which the metric applies that were scored, 1.0 where it applies to none. `worst` and `best` bound the
    mean over all questions to which it applies, with the worst and the best value of the metric's scale in place of
    the missing scores (the lowest and the highest where neither is better); None where the scale has no such bound.
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
        scores: Of one question set, values within the scales of their metrics (`scale_of`).
        metrics: Which metrics, in the order of the columns.
        advance: Told how many more cells are done.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for arm, columns in _by_arm_and_metric(scores).items():
        rows[arm] = {}
        for metric in metrics:
            if metric in columns:
                rows[arm][metric] = _cell(columns[metric].values(), scale_of(metric), resampling)
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
    advance: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """Every arm held against one other, metric by metric, over the questions that both have a value for.

    p-values are corrected by Holm's method over the metrics of one arm and family; families stand apart because
    retrieval and response metrics answer two questions. A metric that was not measured in both arms, or applies to
    no question of the set, gives no verdict; one that applies but failed everywhere gives "cannot tell" with n = 0.
    Nor does a metric that is not judged: it describes answers, and costs the others no correction.

    Args:
        scores: Of one question set, values within the scales of their metrics (`scale_of`).
        metrics_by_arm: Arm -> family ("retrieval", "response") -> metrics to judge it on, in the order of the result;
            `against` itself is skipped.
        alpha: The largest corrected p that still decides.
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
                better = scale_of(metric).better == "higher"
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
    """Metric -> difference, for the metrics that are judged and that both arms have scores of."""
    compared = {}
    for metric in metrics:
        a, b, scale = ours.get(metric, {}), theirs.get(metric, {}), scale_of(metric)
        if scale.judged and _applies(a) and _applies(b):
            compared[metric] = compare(_values(a.values()), _values(b.values()), resampling, span=scale.span)
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


def _cell(scores: Collection[Score], scale: Scale, resampling: Resampling) -> Cell:
    values = _values(scores)
    failed = sum(score.value is None and score.reason not in NOT_APPLICABLE for score in scores)
    applicable = len(values) + failed
    total = sum(values.values())
    interval = mean_interval(values, resampling, bounds=scale.bounds)

    def with_all(value: float) -> float | None:
        """The mean if every missing score were this."""
        return finite((total + failed * value if failed else total) / applicable) if applicable else None

    worst, best = scale.bounds if scale.better != "lower" else scale.bounds[::-1]
    return Cell(
        value=interval.mean,
        n=len(values),
        coverage=len(values) / applicable if applicable else 1.0,
        ci_low=finite(interval.ci_low) if values else None,
        ci_high=finite(interval.ci_high) if values else None,
        worst=with_all(worst),
        best=with_all(best),
    )
