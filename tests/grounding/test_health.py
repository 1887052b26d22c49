"""Sensitivity and specificity are shares of known claims, with Wilson's intervals."""

from __future__ import annotations

import numpy as np
import pytest

from raglift.evaluation.rates import wilson
from raglift.grounding.claims import Claim
from raglift.grounding.health import health_of


def claim(supported: bool, kind: str) -> Claim:
    return Claim("It is.", "It is.", supported, kind, "d")


def test_each_share_is_of_its_own_claims() -> None:
    claims = [claim(True, "sentence")] * 4 + [claim(False, "number")] * 3 + [claim(False, "swap")] * 2
    found = health_of(claims, np.array([True, True, True, False, False, False, True, True, True]))
    assert (found.specificity, found.sensitivity) == (wilson(3, 4), wilson(2, 5))
    assert found.by_kind == {"number": wilson(2, 3), "sentence": wilson(3, 4), "swap": wilson(0, 2)}
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.4) / 2)


def test_the_interval_holds_the_balanced_accuracy_and_shrinks_with_more_claims() -> None:
    def found(times: int) -> tuple[float, float]:
        claims = [*[claim(True, "sentence")] * 4, *[claim(False, "number")] * 4] * times
        return health_of(claims, np.array([True, True, True, False, False, False, True, True] * times)).interval

    (low, high), (inner_low, inner_high) = found(1), found(25)
    assert low < inner_low < (0.75 + 0.5) / 2 < inner_high < high
    assert inner_high - inner_low < 0.3 * (high - low)


def test_of_nothing_nothing_is_known() -> None:
    assert health_of([claim(True, "sentence")], np.array([True])).balanced_accuracy is None
