"""Our statistics are those of statsmodels where it has them."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from raglift.evaluation.inference import questions_needed
from raglift.evaluation.rates import wilson
from raglift.evaluation.statistics import Resampling, by_cluster, holm, standard_error


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (1, 30), (15, 30), (187, 200), (12, 12)])
def test_wilsons_interval(hits: int, n: int) -> None:
    found = wilson(hits, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=12))
def test_holms_correction(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_cluster_robust_standard_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(17), rng.integers(1, 9, 17))
    values = rng.normal(size=17)[owner] + rng.normal(size=len(owner))
    fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": owner})
    named = {f"q{i}": float(value) for i, value in enumerate(values)}
    sums, counts = by_cluster(named, {f"q{i}": f"d{document}" for i, document in enumerate(owner)})
    assert standard_error(sums, counts) == pytest.approx(float(fitted.bse[0]))


@pytest.mark.parametrize(("effect", "power"), [(0.2, 0.8), (0.5, 0.9), (1.0, 0.8)])
def test_the_number_of_questions_that_a_power_needs(effect: float, power: float) -> None:
    values = np.random.default_rng(0).normal(size=50)
    values = (values - values.mean()) / values.std(ddof=1) + effect
    named = {f"q{i}": float(value) for i, value in enumerate(values)}
    found = questions_needed(named, dict.fromkeys(named, 0.0), Resampling(), power=power)
    assert found.questions == int(np.ceil(TTestPower().solve_power(effect, power=power, alpha=0.05)))
