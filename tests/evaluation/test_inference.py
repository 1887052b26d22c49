"""No worse, how many questions, how much luck of the seed: each against a reference and by its laws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raglift.errors import UserError
from raglift.evaluation.inference import across_seeds, noninferiority, questions_needed
from raglift.evaluation.statistics import Resampling, compare

UNIT = st.floats(0, 1, allow_nan=False)
PAIRS = st.lists(st.tuples(UNIT, UNIT, st.integers(0, 9)), min_size=2, max_size=30)


def named(values: np.ndarray) -> dict[str, float]:
    return {f"q{number}": float(value) for number, value in enumerate(values)}


def zeros(values: Mapping[str, float]) -> dict[str, float]:
    return dict.fromkeys(values, 0.0)


def clustered_as(owner: np.ndarray, resamples: int = 400) -> Resampling:
    return Resampling({f"q{i}": f"d{document}" for i, document in enumerate(owner)}, 0, resamples)


# No worse.


@pytest.mark.parametrize("count", [4, 9, 12])
def test_the_shifted_p_agrees_with_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(0.0, 0.1, count).round(3)
    expected = stats.permutation_test(
        (values + 0.05,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue
    a = named(values)
    assert noninferiority(a, zeros(a), 0.05, Resampling()).p == pytest.approx(expected)


def test_the_shift_counts_once_a_question_not_once_a_document() -> None:
    values, owner = np.array([-0.2, -0.2, -0.2, 0.1, 0.1]), np.array([0, 0, 0, 1, 2])
    a = named(values)
    # Sums of the shifted differences by document: 0.3, 0.4, 0.4; only the flip that changes nothing is as large.
    assert noninferiority(a, zeros(a), 0.3, clustered_as(owner)).p == pytest.approx(1 / 8)


def test_equal_arms_are_no_worse_where_there_is_enough_to_say_so() -> None:
    values = np.random.default_rng(0).normal(0, 0.05, 60)
    a = named(values - values.mean())
    assert noninferiority(a, zeros(a), 0.02, Resampling()).decision == "not worse"
    assert noninferiority(a, zeros(a), 0.001, Resampling()).decision == "cannot tell"
    few = {qa_id: a[qa_id] for qa_id in list(a)[:4]}
    assert noninferiority(few, zeros(few), 0.02, Resampling()).decision == "cannot tell"


def test_both_the_interval_and_the_p_have_to_say_so() -> None:
    a = named(np.array([0.001, -0.001, 0.002, -0.002, 0.0]))
    found = noninferiority(a, zeros(a), 0.1, Resampling())
    assert found.ci_low > -0.1
    assert (found.p, found.decision) == (1 / 32, "cannot tell")  # five documents can say no more
    more = named(np.array([0.001, -0.001, 0.002, -0.002, 0.0, 0.0]))
    assert noninferiority(more, zeros(more), 0.1, Resampling()).decision == "not worse"


def test_a_clear_loss_is_worse_and_one_document_says_nothing() -> None:
    a = named(np.random.default_rng(1).normal(-0.3, 0.05, 40))
    assert noninferiority(a, zeros(a), 0.02, Resampling()).decision == "worse"
    turned = noninferiority(a, zeros(a), 0.02, Resampling(), higher_is_better=False)
    assert (turned.decision, turned.delta > 0) == ("not worse", True)
    alone = noninferiority(a, zeros(a), 0.5, Resampling(dict.fromkeys(a, "d")))
    assert (alone.p, alone.decision, alone.clusters) == (1.0, "cannot tell", 1)


def test_a_loss_of_the_margin_is_seldom_called_no_worse() -> None:
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(300):
        owner = np.repeat(np.arange(25), 3)
        a = named(rng.normal(0, 0.05, 25)[owner] + rng.normal(-0.05, 0.1, len(owner)))
        called += noninferiority(a, zeros(a), 0.05, clustered_as(owner, 200)).decision == "not worse"
    assert 0 < called <= 17  # the 0.1% point of 300 draws at 2.5%


@given(PAIRS, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_wider_margin_never_takes_back(values: list[tuple[float, float, int]], one: float, other: float) -> None:
    a, b = (named(np.array(column)) for column in list(zip(*values, strict=True))[:2])
    resampling = clustered_as(np.array([owner for _, _, owner in values]), 100)
    tight, wide = (noninferiority(a, b, margin, resampling) for margin in sorted((one, other)))
    found = compare(a, b, resampling)
    assert (tight.delta, tight.ci_low, tight.ci_high) == (found.delta, found.ci_low, found.ci_high)
    assert 0 < tight.p <= 1
    if found.clusters <= 12:
        assert wide.p <= tight.p + 1e-12
        assert (tight.decision, wide.decision) not in {("not worse", "cannot tell"), ("not worse", "worse")}


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_that_says_nothing_is_refused(margin: float) -> None:
    with pytest.raises(UserError, match="margin"):
        noninferiority({"a": 1.0}, {"a": 0.0}, margin, Resampling())


# How many questions.


@pytest.mark.parametrize(("effect", "power"), [(0.2, 0.8), (0.5, 0.8), (0.5, 0.95), (1.5, 0.8), (2.5, 0.9), (4.0, 0.8)])
def test_the_number_has_the_power_by_scipy_and_one_less_has_not(effect: float, power: float) -> None:
    values = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    values = 0.1 * (values / values.std(ddof=1) + effect)
    a = named(values)
    found = questions_needed(a, zeros(a), Resampling(), power=power)
    assert found.questions == found.clusters

    def at(n: int) -> float:
        t = stats.t.ppf(0.975, n - 1)
        return float(stats.nct.sf(t, n - 1, effect * n**0.5) + stats.nct.cdf(-t, n - 1, effect * n**0.5))

    assert found.questions is not None
    assert at(found.questions) >= power - 1e-9 > at(found.questions - 1) - 2e-9
    assert at(found.questions - 1) < power


def test_as_many_clustered_questions_as_said_find_it_four_times_in_five() -> None:
    rng = np.random.default_rng(3)

    def draw(documents: int, shift: float) -> tuple[dict[str, float], Resampling]:
        owner = np.repeat(np.arange(documents), 4)
        noise = rng.normal(0, 0.1, documents)[owner] + rng.normal(0, 0.2, len(owner))
        return named(noise + shift), clustered_as(owner, 300)

    pilot, resampling = draw(400, 0.0)
    found = questions_needed(pilot, zeros(pilot), resampling, difference=0.06)
    assert found.clusters is not None
    assert found.questions == 4 * found.clusters
    assert found.design_effect == pytest.approx(1 + 3 * 0.1**2 / (0.1**2 + 0.2**2), rel=0.25)
    hits = 0
    for _ in range(200):
        a, again = draw(found.clusters, 0.06)
        hits += compare(a, zeros(a), again).p <= 0.05
    assert 0.7 < hits / 200 < 0.9


@given(PAIRS, st.floats(0.01, 0.5), st.floats(1.1, 3))
def test_a_smaller_difference_or_more_power_needs_more(
    values: list[tuple[float, float, int]], difference: float, times: float
) -> None:
    a, b = (named(np.array(column)) for column in list(zip(*values, strict=True))[:2])
    owner = np.array([owner for _, _, owner in values])
    if len(set(owner)) < 2:
        return
    resampling = clustered_as(owner)

    def needed(size: float, power: float = 0.8) -> float:
        found = questions_needed(a, b, resampling, difference=size, power=power).questions
        return float("inf") if found is None else found

    assert needed(difference) >= needed(difference * times) >= 2
    assert needed(difference, 0.9) >= needed(difference)
    assert needed(-difference) == needed(difference)


def test_nothing_to_find_needs_more_than_there_is() -> None:
    a = named(np.array([0.1, -0.1, 0.2, -0.2]))
    found = questions_needed(a, zeros(a), Resampling(), difference=0.0)
    assert (found.questions, found.clusters) == (None, None)
    constant = named(np.full(5, 0.25))
    assert questions_needed(constant, zeros(constant), Resampling()).questions == 2


def test_what_cannot_be_planned_is_refused() -> None:
    a = named(np.array([0.1, 0.2]))
    with pytest.raises(UserError, match="cannot be told"):
        questions_needed(a, zeros(a), Resampling(dict.fromkeys(a, "d")))
    for power, alpha in ((1.0, 0.05), (0.01, 0.05), (0.8, 0.0)):
        with pytest.raises(UserError, match="no meaning"):
            questions_needed(a, zeros(a), Resampling(), power=power, alpha=alpha)


# Several seeds.


def by_seed(table: np.ndarray) -> dict[str, dict[str, float]]:
    return {f"seed {number}": named(row) for number, row in enumerate(table)}


def test_with_a_question_a_document_it_is_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(4)
    seeds, n = 4, 15
    table = rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.1, n) + rng.normal(0, 0.05, (seeds, n))
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    of_seeds = n * rows.var(ddof=1)
    of_questions = seeds * columns.var(ddof=1)
    of_rest = ((table - rows[:, None] - columns + mean) ** 2).sum() / ((seeds - 1) * (n - 1))
    found = across_seeds(by_seed(table), Resampling())
    assert found.delta == pytest.approx(mean)
    assert found.between_seeds**2 == pytest.approx((of_seeds - of_rest) / n)
    error = found.error_of_seeds**2 + found.error_of_questions**2
    assert error == pytest.approx((of_seeds + of_questions - of_rest) / (seeds * n))
    assert found.ci_low < mean < found.ci_high
    assert (found.seeds, found.n, found.clusters) == (seeds, n, n)


def test_where_seeds_do_not_differ_it_is_scipys_t_test_over_questions() -> None:
    values = np.random.default_rng(5).normal(0.05, 0.1, 20)
    noise = np.random.default_rng(6).normal(0, 0.05, 20)
    noise -= noise.mean()
    found = across_seeds(by_seed(np.array([values + noise, values - noise])), Resampling())
    expected = stats.ttest_1samp(values, 0.0)
    interval = expected.confidence_interval()
    assert found.between_seeds == 0
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_equal_seeds_leave_the_interval_over_few_documents_that_one_has() -> None:
    values, owner = np.random.default_rng(9).normal(0.05, 0.1, 18), np.repeat(np.arange(6), [1, 2, 3, 3, 4, 5])
    found = across_seeds(by_seed(np.array([values, values, values])), clustered_as(owner))
    alone = compare(named(values), zeros(named(values)), clustered_as(owner))  # its t interval, under 8 documents
    assert (found.ci_low, found.ci_high) == pytest.approx((alone.ci_low, alone.ci_high))
    assert (found.delta, found.clusters) == (pytest.approx(alone.delta), 6)


def test_where_questions_do_not_differ_it_is_scipys_t_test_over_seeds() -> None:
    shifts = np.random.default_rng(7).normal(0.05, 0.05, 5)
    found = across_seeds(by_seed(np.repeat(shifts[:, None], 30, axis=1)), Resampling())
    expected = stats.ttest_1samp(shifts, 0.0)
    interval = expected.confidence_interval()
    assert found.error_of_questions == pytest.approx(0)
    assert found.between_seeds == pytest.approx(shifts.std(ddof=1))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_the_interval_covers_new_seeds_and_new_documents_and_the_parts_are_recovered() -> None:
    rng = np.random.default_rng(8)
    seeds, documents, each = 5, 25, 4
    owner = np.repeat(np.arange(documents), each)
    resampling = clustered_as(owner)
    covered, questions_only, spreads = 0, 0, []
    for _ in range(300):
        table = (
            rng.normal(0.05, 0.04, (seeds, 1))
            + rng.normal(0, 0.08, documents)[owner]
            + rng.normal(0, 0.03, (seeds, documents))[:, owner]  # a training that suits some documents
            + rng.normal(0, 0.1, (seeds, len(owner)))
        )
        found = across_seeds(by_seed(table), resampling)
        covered += found.ci_low <= 0.05 <= found.ci_high
        questions_only += abs(found.delta - 0.05) <= 1.96 * found.error_of_questions
        spreads.append(found.between_seeds**2)
    assert 0.915 <= covered / 300 <= 0.99
    assert questions_only / 300 < 0.9  # one training's luck is not in the spread of the questions
    assert np.mean(spreads) ** 0.5 == pytest.approx(0.04, rel=0.1)


@given(
    st.integers(2, 4).flatmap(
        lambda seeds: st.lists(
            st.tuples(st.lists(st.floats(-1, 1), min_size=seeds, max_size=seeds), st.integers(0, 5)),
            min_size=2,
            max_size=12,
        )
    )
)
def test_laws_of_several_seeds(rows: list[tuple[list[float], int]]) -> None:
    table, owner = np.array([row for row, _ in rows]).T, np.array([document for _, document in rows])
    if len(set(owner)) < 2:
        return
    resampling = clustered_as(owner)
    found = across_seeds(by_seed(table), resampling)
    assert found.delta == pytest.approx(table.mean(), abs=1e-12)
    assert -1 <= found.ci_low <= found.delta + 1e-12
    assert found.delta - 1e-12 <= found.ci_high <= 1
    assert 0 <= found.p <= 1
    turned = across_seeds(by_seed(-table), resampling)
    assert (turned.delta, turned.ci_low, turned.ci_high) == pytest.approx((-found.delta, -found.ci_high, -found.ci_low))
    mixed = across_seeds(by_seed(table[::-1]), resampling)
    assert (mixed.between_seeds, mixed.p) == pytest.approx((found.between_seeds, found.p), abs=1e-9)


def test_only_questions_that_every_seed_scored_count() -> None:
    seeds = {"0": {"a": 0.5, "b": 0.25, "c": 1.0}, "1": {"a": 0.25, "b": 0.5}}
    assert across_seeds(seeds, Resampling()).n == 2


@pytest.mark.parametrize(
    "seeds", [{}, {"0": {"a": 1.0, "b": 0.0}}, {"0": {"a": 1.0}, "1": {"b": 1.0}}, {"0": {"a": 1.0}, "1": {"a": 1.0}}]
)
def test_too_few_seeds_or_documents_are_refused(seeds: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UserError, match="between seeds"):
        across_seeds(seeds, Resampling())
