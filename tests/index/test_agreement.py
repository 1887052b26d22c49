"""The agreement of vectors: laws, and figures that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.index.agreement import NEAREST, agreement


def drawn(seed: int, count: int, width: int = 12) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), count=st.integers(2, 40), noise=st.floats(0, 2))
def test_it_is_what_it_says(seed: int, count: int, noise: float) -> None:
    exact = drawn(seed, count)
    vectors = exact + noise * drawn(seed + 1, count)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = agreement(vectors, exact)
    cosines = [float(a @ b) for a, b in zip(vectors, exact, strict=True)]
    assert found.mean_cosine == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.least_cosine == pytest.approx(min(cosines), abs=1e-5)
    shares = []
    for row in range(count):
        others = [other for other in range(count) if other != row]
        near = [
            set(sorted(others, key=lambda other, of=of: (-float(exact[row] @ of[other]), other))[:NEAREST])
            for of in (vectors, exact)
        ]
        shares.append(len(near[0] & near[1]) / len(near[1]))
    assert found.neighbours == pytest.approx(np.mean(shares), abs=0.02)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), count=st.integers(1, 30))
def test_vectors_agree_with_themselves_and_with_the_order_of_texts_nothing_changes(seed: int, count: int) -> None:
    exact, vectors = drawn(seed, count), drawn(seed + 1, count)
    same = agreement(exact, exact)
    assert (same.mean_cosine, same.least_cosine) == pytest.approx((1, 1), abs=1e-6)
    assert same.neighbours == 1 if count > 1 else True
    order = np.random.default_rng(seed).permutation(count)
    one, other = agreement(vectors, exact), agreement(vectors[order], exact[order])
    assert one.mean_cosine == pytest.approx(other.mean_cosine, abs=1e-5)
    assert one.neighbours == pytest.approx(other.neighbours, abs=0.02)


def test_vectors_that_agree_among_themselves_alone_do_not_agree() -> None:
    exact = drawn(0, 60)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0].astype(np.float32)
    found = agreement(exact @ turn, exact)
    assert found.mean_cosine < 0.5
    assert found.neighbours < 0.5, "a question is not turned"


def test_chance_agrees_by_its_share() -> None:
    found = agreement(drawn(0, 201, 64), drawn(1, 201, 64))
    assert found.neighbours == pytest.approx(NEAREST / 200, abs=0.02)
