"""A share has Wilson's interval, and a sum of two shares the one that follows from theirs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from raglift.evaluation.rates import sum_interval, wilson


@given(n=st.integers(1, 400), data=st.data())
def test_a_rate_has_wilsons_interval(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    found, expected = wilson(hits, n), binomtest(hits, n).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((hits / n, expected.low, expected.high), abs=1e-9)


def test_wilsons_interval_as_published() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, 15 of 148, 0 of 20
    for right, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = wilson(right, of)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_a_rate_over_nothing_is_unknown() -> None:
    found = wilson(0, 0)
    assert (found.n, found.known, found.low, found.high) == (0, None, 0, 1)
    assert wilson(1, 4).known == 0.25


@pytest.mark.parametrize(("one", "other"), [(0.9, 0.8), (0.99, 0.6), (0.5, 0.5)])
def test_the_interval_of_a_sum_covers_it(one: float, other: float) -> None:
    rng, covered, times = random.Random(5), 0, 1000
    for _ in range(times):
        hits = [sum(rng.random() < share for _ in range(80)) for share in (one, other)]
        low, high = sum_interval(wilson(hits[0], 80), wilson(hits[1], 80))
        covered += low <= one + other <= high
    assert 0.93 <= covered / times <= 0.985
