"""What stands in a passage word for word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.grounding.checker import LexicalChecker
from raglift.grounding.features import COUNT, word_features
from raglift.grounding.lexical import overlap

PASSAGE = "Ada Lovelace met Charles Babbage in London in 1833. The engine was never built by its maker. It cost £1,500."


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("Ada Lovelace met Charles Babbage in London in 1833.", True),
        ("In 1833 Babbage met Lovelace.", True),
        ("It cost 1500.", True),
        ("Ada Lovelace met Charles Babbage in London in 1834.", False),
        ("Ada Lovelace met Charles Babbage in Paris in 1833.", False),
        ("The engine was built by its maker.", False),
        ("The engine was never built by its maker.", True),
        ("The committee adjourned its quarterly meeting.", False),
    ],
)
def test_a_claim_must_have_its_numbers_names_and_negation_there(claim: str, supported: bool) -> None:
    assert bool(LexicalChecker().probabilities([(claim, PASSAGE)])[0]) is supported


def test_each_share_by_hand() -> None:
    found = overlap("In 1833 and 1900 Charles Dickens met engine makers.", PASSAGE)
    assert (found.numbers, found.names, found.negation) == (0.5, 0.5, 1.0)
    # of charles, dickens, met, engine, maker the passage holds four, and its first sentence two
    assert found.covered == pytest.approx(4 / 5)
    assert found.near == pytest.approx(2 / 5)
    assert found.support == 0.0


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=120), st.text(max_size=120))
def test_shares_are_shares_whatever_the_texts(claim: str, passage: str) -> None:
    found = overlap(claim, passage)
    assert all(0 <= value <= 1 for value in (found.covered, found.near, found.numbers, found.names, found.negation))
    values = word_features(claim, passage)
    assert values.shape == (COUNT,)
    assert np.all((values >= 0) & (values <= 1))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PASSAGE.rstrip(".").split(". ")))
def test_a_sentence_of_the_passage_is_supported(sentence: str) -> None:
    assert overlap(sentence, PASSAGE).support == 1.0


@pytest.mark.parametrize("claim", ["", "...", "That is it.", "!!"])
@pytest.mark.parametrize("passage", [PASSAGE, ""])
def test_a_claim_that_says_nothing_is_not_supported(claim: str, passage: str) -> None:
    assert overlap(claim, passage).support == 0.0
