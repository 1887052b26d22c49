"""When one training counts as better than another on the development questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.training.gains import LEVEL, DevValues, Judge, count, mean

DOCUMENTS, EACH = 10, 4
DOCUMENT_OF = {f"q{n}": f"d{n % DOCUMENTS}" for n in range(DOCUMENTS * EACH)}


def values(numbers: Sequence[float]) -> DevValues:
    """One set of questions."""
    return [{f"q{place}": number for place, number in enumerate(numbers)}]


SCORES = st.lists(st.sampled_from([0.0, 0.5, 0.63, 1.0]), min_size=40, max_size=40)


@settings(max_examples=30)
@given(SCORES, SCORES, st.integers(1, 20))
def test_only_a_higher_mean_counts_and_a_tie_never_does(one: list[float], other: list[float], trials: int) -> None:
    judge = Judge(DOCUMENT_OF, trials)
    gain = judge.gain(values(one), values(other))
    assert gain.delta == pytest.approx(np.mean(one) - np.mean(other), abs=1e-12)
    assert not gain.counts or np.mean(one) > np.mean(other)
    assert not judge.gain(values(one), values(one)).counts
    alone = Judge(DOCUMENT_OF, 1).gain(values(one), values(other))
    assert gain.p == pytest.approx(min(1.0, trials * alone.p))


def test_the_test_is_exact_over_flips_of_documents() -> None:
    """By hand: ten documents that all gain leave one of 2^10 flips as extreme, on one side."""
    gain = Judge(DOCUMENT_OF, 3).gain(values([0.6] * 40), values([0.5] * 40))
    assert gain.p == pytest.approx(3 / 2**10)
    assert gain.counts
    assert Judge(DOCUMENT_OF, 3).gain(values([0.5] * 40), values([0.6] * 40)).p == 1.0


def test_sets_count_equally_whatever_their_size() -> None:
    people = {f"q{n}": 0.5 for n in range(40)}
    few = {"s0": 1.0, "s1": 0.8}
    better = [{**people, "q0": 0.9}, few]
    worse = [people, {"s0": 0.9, "s1": 0.8}]
    gain = Judge({**DOCUMENT_OF, "s0": "d0", "s1": "d1"}, 1).gain(better, worse)
    assert mean(better) == pytest.approx((0.51 + 0.9) / 2)
    assert gain.delta == pytest.approx((0.4 / 40 + 0.1 / 2) / 2)
    assert (mean([]), count(better)) == (None, 42)


def test_questions_of_one_document_are_no_evidence_of_their_own() -> None:
    numbers = [1.0 if place % DOCUMENTS < 3 else 0.5 for place in range(40)]  # three documents gain on all questions
    clustered = Judge(DOCUMENT_OF, 1).gain(values(numbers), values([0.5] * 40))
    alone = Judge({}, 1).gain(values(numbers), values([0.5] * 40))
    assert clustered.p == pytest.approx(1 / 2**3)
    assert not clustered.counts
    assert alone.counts


def test_too_few_questions_or_documents_are_told() -> None:
    judge = Judge(DOCUMENT_OF, 10)
    assert judge.too_few(values([0.5] * 40)) == ""
    assert "19 development questions are too few to choose by: it takes 20" in judge.too_few(values([0.5] * 19))
    assert "0 development questions" in judge.too_few([])
    six = Judge({name: f"d{place % 6}" for place, name in enumerate(DOCUMENT_OF)}, 10)
    assert (
        six.too_few(values([0.5] * 40)) == "development questions of 6 documents are too few to choose by: it takes 7"
    )
    seven = Judge({name: f"d{place % 7}" for place, name in enumerate(DOCUMENT_OF)}, 10)
    assert seven.too_few(values([0.5] * 40)) == ""
    assert seven.gain(values([0.6] * 40), values([0.5] * 40)).counts, "what is enough can be won"
    assert not six.gain(values([0.6] * 40), values([0.5] * 40)).counts, "what is too few cannot"


def test_noise_alone_changes_the_settings_no_oftener_than_it_may() -> None:
    """Searches of ten trainings that differ by luck alone, with questions of a document moving together."""
    rng, searches, trials = np.random.default_rng(5), 150, 10
    judge, naive, left = Judge(DOCUMENT_OF, trials), 0, 0
    for _ in range(searches):
        start, found = _noise(rng), [_noise(rng) for _ in range(trials)]
        naive += any((mean(each) or 0) > (mean(start) or 0) for each in found)
        left += any(judge.gain(each, start).counts for each in found)
    assert naive / searches > 0.75, "the best of many trials is nearly always above the start"
    assert left / searches <= LEVEL + 0.05


def test_a_plain_gain_is_seen() -> None:
    rng = np.random.default_rng(6)
    judge, seen = Judge(DOCUMENT_OF, 10), 0
    for _ in range(20):
        start = _noise(rng)
        better = [{name: value + 0.15 + rng.normal(0, 0.1) for name, value in start[0].items()}]
        seen += judge.gain(better, start).counts
    assert seen >= 18


def _noise(rng: np.random.Generator) -> DevValues:
    shared = rng.normal(0, 0.1, DOCUMENTS)
    return values([0.6 + shared[place % DOCUMENTS] + rng.normal(0, 0.2) for place in range(DOCUMENTS * EACH)])
