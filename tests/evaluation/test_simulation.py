"""A thousand simulated evaluations: intervals cover at their rate, and nothing is found where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from raglift.evaluation.statistics import Resampling, mean_interval
from raglift.evaluation.summary import verdicts
from raglift.records import Score, Verdict

EVALUATIONS = 1000
DOCUMENTS = 30
METRICS = ("nDCG@10", "RR@10", "R@5")
OWNER = np.repeat(np.arange(DOCUMENTS), np.tile([1, 3, 5], DOCUMENTS // 3))
IDS = [f"q{number}" for number in range(len(OWNER))]
RESAMPLING = Resampling({qa_id: f"d{document}" for qa_id, document in zip(IDS, OWNER, strict=True)}, 0, 400)


def evaluations(shift: float) -> Iterator[list[Verdict]]:
    """Both arms' values of three correlated metrics, whose differences share their document's luck."""
    rng = np.random.default_rng(6)
    size = (EVALUATIONS, DOCUMENTS, 1)
    documents, questions = rng.normal(0, 0.05, size), rng.normal(0, 0.06, (EVALUATIONS, len(OWNER), 1))
    own = rng.normal(0, 0.05, (EVALUATIONS, len(OWNER), len(METRICS)))
    differences = np.clip(documents[:, OWNER] + questions + own + shift, -0.5, 0.5)
    base = np.full(differences.shape, 0.5)
    for ours, theirs in zip(base + differences, base, strict=True):
        scores = [
            Score(metric, qa_id, arm, float(values[row, column]))
            for arm, values in (("base", theirs), ("tuned", ours))
            for column, metric in enumerate(METRICS)
            for row, qa_id in enumerate(IDS)
        ]
        yield verdicts(scores, "human", "base", {"tuned": {"retrieval": METRICS}}, RESAMPLING)


@pytest.fixture(scope="module")
def null() -> list[list[Verdict]]:
    return list(evaluations(0.0))


def test_at_most_one_evaluation_in_twenty_finds_what_is_not_there(null: list[list[Verdict]]) -> None:
    """Over the three metrics together, as Holm's correction promises."""
    found = sum(any(each.decision != "cannot tell" for each in evaluation) for evaluation in null)
    assert 5 <= found <= 72  # 5% of 1,000, and three standard deviations more; a test that never decides is none


def test_what_is_found_by_chance_is_as_often_better_as_worse(null: list[list[Verdict]]) -> None:
    decisions = [each.decision for evaluation in null for each in evaluation]
    better, worse = decisions.count("better"), decisions.count("worse")
    assert abs(better - worse) <= 4 * (better + worse) ** 0.5  # metrics of one evaluation go together


def test_intervals_cover_at_their_nominal_rate(null: list[list[Verdict]]) -> None:
    for column in range(len(METRICS)):
        covered = np.mean([evaluation[column].ci_low <= 0 <= evaluation[column].ci_high for evaluation in null])
        assert 0.93 <= covered <= 0.971  # 95%, and three standard deviations of 1,000 draws either way


def test_intervals_cover_a_true_lift_and_find_it() -> None:
    lifted = list(evaluations(0.05))
    covered = np.mean([evaluation[0].ci_low <= 0.05 <= evaluation[0].ci_high for evaluation in lifted])
    assert 0.93 <= covered <= 0.971
    assert np.mean([evaluation[0].decision == "better" for evaluation in lifted]) > 0.8


def test_the_interval_of_one_arms_mean_covers_it() -> None:
    rng = np.random.default_rng(7)
    rates = rng.beta(3, 5, (EVALUATIONS, DOCUMENTS))[:, OWNER]
    hits = rng.random(rates.shape) < rates
    covered = 0
    for row in hits.astype(float):
        interval = mean_interval(dict(zip(IDS, map(float, row), strict=True)), RESAMPLING)
        covered += interval.ci_low <= 3 / 8 <= interval.ci_high
    assert 0.93 <= covered / EVALUATIONS <= 0.971
