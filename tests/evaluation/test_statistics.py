"""Intervals cover, p-values are honest, and the corner cases say what they do not know."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raglift.evaluation.statistics import Comparison, Resampling, compare, decide, holm, mean_interval

UNIT = st.floats(0, 1, allow_nan=False)
P_VALUES = st.lists(UNIT, max_size=12)


def named(values: np.ndarray) -> dict[str, float]:
    return {f"q{number}": float(value) for number, value in enumerate(values)}


def differences(
    values: np.ndarray, documents: np.ndarray | None = None, seed: int = 0, resamples: int = 2000, span: float = 1.0
) -> Comparison:
    a = named(values)
    cluster = {} if documents is None else {qa_id: f"d{document}" for qa_id, document in zip(a, documents, strict=True)}
    return compare(a, dict.fromkeys(a, 0.0), Resampling(cluster, seed, resamples), span=span)


def clustered(rng: np.random.Generator, documents: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Differences whose documents vary in size and in their mean."""
    sizes = rng.integers(1, 9, size=documents)
    owner = np.repeat(np.arange(documents), sizes)
    return rng.normal(0, 0.15, documents)[owner] + rng.normal(shift, 0.2, len(owner)), owner


@pytest.mark.parametrize("count", [2, 5, 8, 11])
def test_exact_p_agrees_with_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(0.2, 0.4, count).round(2)
    expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert differences(values).p == pytest.approx(expected)


def test_random_p_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).normal(0.08, 0.2, 30)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    ).pvalue
    assert 0.005 < expected < 0.2
    assert differences(values, resamples=20_000).p == pytest.approx(expected, abs=0.01)


def test_p_of_clusters_is_p_of_their_sums() -> None:
    values, owner = clustered(np.random.default_rng(5), 9, 0.1)
    sums = np.bincount(owner, weights=values)
    assert differences(values, owner).p == pytest.approx(differences(sums).p)
    assert differences(values, owner).p != pytest.approx(differences(values).p)


def test_p_is_never_zero() -> None:
    assert differences(np.full(100, 0.5), resamples=999).p == pytest.approx(1 / 1000)
    assert differences(np.full(5, 0.5)).p == pytest.approx(2 / 2**5)


@pytest.mark.parametrize("documents", [8, 25])
def test_p_is_uniform_where_nothing_differs(documents: int) -> None:
    rng = np.random.default_rng(documents)
    p_values = [differences(*clustered(rng, documents), resamples=300, seed=trial).p for trial in range(400)]
    assert stats.kstest(p_values, "uniform").statistic < 0.085  # the 0.5% point for 400 draws is 0.087
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.085


def test_ignoring_the_clusters_would_be_dishonest() -> None:
    rng = np.random.default_rng(1)
    found = {"clustered": 0, "ignored": 0}
    for trial in range(150):
        owner = np.repeat(np.arange(10), 12)
        values = rng.normal(0, 0.2, 10)[owner] + rng.normal(0, 0.1, len(owner))
        found["clustered"] += differences(values, owner, resamples=200, seed=trial).p <= 0.05
        found["ignored"] += differences(values, resamples=200, seed=trial).p <= 0.05
    assert found["clustered"] <= 18
    assert found["ignored"] >= 60


@pytest.mark.parametrize("documents", [5, 12, 30])
def test_the_interval_covers_the_truth(documents: int) -> None:
    rng = np.random.default_rng(documents)
    covered, width = 0, 0.0
    for trial in range(200):
        result = differences(*clustered(rng, documents, 0.1), resamples=500, seed=trial)
        covered += result.ci_low <= 0.1 <= result.ci_high
        width += (result.ci_high - result.ci_low) / 200
    assert 174 <= covered <= 199
    assert width < {5: 0.6, 12: 0.3, 30: 0.16}[documents]  # not by being wide


@pytest.mark.parametrize(("documents", "least", "most"), [(10, 1.18, 1.4), (200, 0.97, 1.06)])
def test_the_interval_is_widened_for_few_documents_only(documents: int, least: float, most: float) -> None:
    rng = np.random.default_rng(documents)
    values = rng.normal(0, 0.2, documents)
    means = rng.choice(values, size=(20_000, documents)).mean(axis=1)
    plain = float(np.subtract(*np.quantile(means, [0.975, 0.025])))
    result = differences(values, resamples=20_000)
    assert least < (result.ci_high - result.ci_low) / plain < most


def test_one_arms_interval_covers_its_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        owner = np.repeat(np.arange(20), rng.integers(1, 9, size=20))
        rates = rng.beta(2, 6, size=20)[owner]
        values = named((rng.random(len(owner)) < rates).astype(float))
        cluster = {qa_id: str(document) for qa_id, document in zip(values, owner, strict=True)}
        result = mean_interval(values, Resampling(cluster, trial, 500))
        assert 0 <= result.ci_low <= result.ci_high <= 1
        covered += result.ci_low <= 0.25 <= result.ci_high
    assert 176 <= covered <= 199


def test_detectable_differences_are_found_four_times_in_five() -> None:
    rng = np.random.default_rng(9)
    documents, per_document = 40, 5
    owner = np.repeat(np.arange(documents), per_document)

    def noise() -> np.ndarray:
        return rng.normal(0, 0.1, documents)[owner] + rng.normal(0, 0.2, len(owner))

    size = float(np.mean([differences(noise(), owner, resamples=50).detectable for _ in range(30)]))
    assert size == pytest.approx(2.8016 * np.sqrt((0.1**2 + 0.2**2 / per_document) / documents), rel=0.1)
    found = [differences(noise() + size, owner, resamples=400, seed=trial).p <= 0.05 for trial in range(200)]
    assert 0.7 < np.mean(found) < 0.9


def test_only_common_questions_are_paired() -> None:
    result = compare({"a": 1.0, "b": 0.5, "only": 1.0}, {"a": 0.5, "b": 0.25, "other": 0.0}, Resampling())
    assert result.delta == 0.375
    assert (result.n, result.clusters) == (2, 2)


def test_the_mean_is_over_questions_not_over_documents() -> None:
    result = differences(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 1, 1]))
    assert result.delta == 0.25
    assert (result.n, result.clusters) == (4, 2)


@given(values=st.lists(st.tuples(UNIT, UNIT, st.integers(0, 12)), min_size=1, max_size=40), seed=st.integers(0, 5))
def test_laws_of_a_comparison(values: list[tuple[float, float, int]], seed: int) -> None:
    a, b = (named(np.array(column)) for column in list(zip(*values, strict=True))[:2])
    cluster = {qa_id: str(document) for qa_id, (_, _, document) in zip(a, values, strict=True)}
    resampling = Resampling(cluster, seed, 200)
    result = compare(a, b, resampling)
    assert -1 <= result.ci_low <= result.ci_high <= 1
    assert 0 < result.p <= 1
    assert 0 <= result.detectable <= 1
    assert result.delta == pytest.approx(np.mean(list(a.values())) - np.mean(list(b.values())))
    turned = compare(dict(reversed(a.items())), dict(reversed(b.items())), resampling)
    assert turned == result  # the order of the mappings is nothing
    assert compare(b, a, resampling).delta == -result.delta
    if result.clusters <= 12:
        assert compare(b, a, resampling).p == pytest.approx(result.p)


@pytest.mark.parametrize("count", [3, 50])
def test_equal_arms_differ_by_nothing(count: int) -> None:
    assert differences(np.zeros(count)) == Comparison(0.0, 0.0, 0.0, 1.0, 0.0, count, count)


@pytest.mark.parametrize("count", [3, 50])
def test_a_constant_difference_has_no_width(count: int) -> None:
    result = differences(np.full(count, 0.3))
    assert (result.ci_low, result.ci_high) == pytest.approx((0.3, 0.3))


def test_one_difference_among_many_questions_has_a_bounded_interval() -> None:
    values = np.zeros(200)
    values[7] = 1.0
    result = differences(values)
    assert result.ci_low == 0
    assert 0.005 < result.ci_high < 0.05
    assert result.p == 1.0


def test_one_document_or_none_says_nothing() -> None:
    assert differences(np.array([0.5, 0.7]), np.array([0, 0])) == Comparison(0.6, -1.0, 1.0, 1.0, 1.0, 2, 1)
    assert differences(np.array([])) == Comparison(0.0, -1.0, 1.0, 1.0, 1.0, 0, 0)
    assert differences(np.array([0.5]), span=2.0) == Comparison(0.5, -2.0, 2.0, 1.0, 2.0, 1, 1)
    empty = mean_interval({}, Resampling())
    assert (empty.mean, empty.ci_low, empty.ci_high, empty.n) == (None, 0.0, 1.0, 0)
    one = mean_interval({"a": 0.5, "b": 1.0}, Resampling({"a": "d", "b": "d"}))
    assert (one.mean, one.ci_low, one.ci_high, one.clusters) == (0.75, 0.0, 1.0, 1)


def test_a_document_is_not_confused_with_a_question_of_its_name() -> None:
    assert compare({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, Resampling({"b": "a"})).clusters == 2


def test_a_thousand_questions_take_well_under_a_second() -> None:
    values = np.random.default_rng(0).normal(0, 0.3, 1000)
    began = time.process_time()
    differences(values)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("documents", [8, 257])
@pytest.mark.parametrize("even", [True, False])
def test_the_draws_are_one_stream_however_they_are_cut_and_kept(
    monkeypatch: pytest.MonkeyPatch, documents: int, even: bool
) -> None:
    rng = np.random.default_rng(documents)
    values, owner = (rng.normal(0, 0.2, documents), np.arange(documents)) if even else clustered(rng, documents)
    found = [differences(values, owner, seed=3, resamples=333) for _ in range(2)]  # drawn, then kept
    monkeypatch.setattr("raglift.evaluation.statistics._MOST_KEPT", 0)
    found.append(differences(values, owner, seed=3, resamples=333))
    monkeypatch.setattr("raglift.evaluation.statistics._DRAWN_AT_ONCE", 3 * documents)
    found.append(differences(values, owner, seed=3, resamples=333))
    assert found == [found[0]] * 4
    sums, counts = np.bincount(owner, weights=values), np.bincount(owner)
    drawn = np.random.default_rng((3, 0)).integers(documents, size=(333, documents))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    assert means.min() <= found[0].ci_low <= np.quantile(means, 0.1)
    assert np.quantile(means, 0.9) <= found[0].ci_high <= means.max()
    assert differences(values, owner, seed=4, resamples=333).ci_low != found[0].ci_low


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_laws(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    for raw, corrected in zip(p_values, adjusted, strict=True):
        assert raw <= corrected <= min(1.0, raw * len(p_values)) or corrected == pytest.approx(raw)
        assert corrected <= 1
    ordered = [corrected for _, corrected in sorted(zip(p_values, adjusted, strict=True))]
    assert all(left <= right for left, right in itertools.pairwise(ordered))
    assert holm(p_values[::-1]) == adjusted[::-1]


@pytest.mark.parametrize(
    ("low", "high", "p", "higher", "lower"),
    [
        (0.1, 0.2, 0.01, "better", "worse"),
        (-0.2, -0.1, 0.05, "worse", "better"),
        (0.1, 0.2, 0.06, "cannot tell", "cannot tell"),  # p disagrees
        (-0.1, 0.2, 0.01, "cannot tell", "cannot tell"),  # the interval disagrees
        (0.0, 0.2, 0.01, "cannot tell", "cannot tell"),
    ],
)
def test_decisions(low: float, high: float, p: float, higher: str, lower: str) -> None:
    assert decide(low, high, p) == higher
    assert decide(low, high, p, higher_is_better=False) == lower
