"""Sensitivity and specificity are shares of known claims, with Wilson's intervals."""

from __future__ import annotations

import numpy as np
import pytest

from raglift.grounding.claims import Claim
from raglift.grounding.health import Rate, health_of


def claim(supported: bool, kind: str) -> Claim:
    return Claim("It is.", "It is.", supported, kind, "d")


def test_each_share_is_of_its_own_claims() -> None:
    claims = [claim(True, "sentence")] * 4 + [claim(False, "number")] * 3 + [claim(False, "swap")] * 2
    found = health_of(claims, np.array([True, True, True, False, False, False, True, True, True]))
    assert (found.specificity, found.sensitivity) == (Rate(3, 4), Rate(2, 5))
    assert found.by_kind == {"number": Rate(2, 3), "sentence": Rate(3, 4), "swap": Rate(0, 2)}
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.4) / 2)


def test_wilsons_interval_as_published() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, 15 of 148, 0 of 20
    for right, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert Rate(right, of).interval == pytest.approx((low, high), abs=5e-5)


def test_of_nothing_nothing_is_known() -> None:
    assert (Rate(0, 0).value, Rate(0, 0).interval) == (None, (0.0, 1.0))
    assert health_of([claim(True, "sentence")], np.array([True])).balanced_accuracy is None
