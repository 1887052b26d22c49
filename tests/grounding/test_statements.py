"""Answers as claims, and claims in other words."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.grounding.lexical import overlap
from raglift.grounding.rewording import reworded
from raglift.grounding.statements import parted, restated, statement


def test_a_short_answer_is_a_claim_with_its_question() -> None:
    assert statement("When did it open?", " 1914 ") == "When did it open? 1914"
    long = "The pier was opened to the public in 1914."
    assert statement("When did it open?", long) == long


def test_a_claim_is_taken_apart_where_it_was_put_together() -> None:
    assert parted(statement("When did it open?", "1914")) == ("When did it open?", "1914")
    assert parted("It opened in 1914.") == ("", "It opened in 1914.")


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("Who was the first keeper? Ann Lee", "Ann Lee was the first keeper."),
        ("What is the capital of Rutland? Oakham.", "Oakham is the capital of Rutland."),
        ("What was found in the well? a coin", "A coin was found in the well."),
        ("What was the pier made of? oak", None),
        ("What was the keeper carrying? oak", None),
        ("What was the keeper called? Ann", None),
        ("When was the pier built? 1914", None),
        ("Who built the pier? Ann Lee", "Ann Lee built the pier."),
        ("Who did Ann Lee meet? Kit", None),
        ("Who lives there with? Kit", None),
        ("The pier is old.", None),
    ],
)
def test_an_answer_takes_the_place_of_the_word_that_asks(claim: str, found: str | None) -> None:
    assert restated(claim) == found


@pytest.mark.parametrize(
    ("sentence", "others"),
    [
        ("In 1914, the pier was opened.", {"The pier was opened in 1914."}),
        ("The pier (of oak) is old.", {"The pier is old."}),
        ("The pier, which is of oak, is old.", {"The pier, is old."}),
        ("It was also located there.", {"It was likewise situated there."}),
        ("Kites fly.", {"Kites fly."}),
    ],
)
def test_the_same_is_said_in_other_words(sentence: str, others: set[str]) -> None:
    assert {reworded(sentence, random.Random(seed)) for seed in range(20)} == others


@given(st.text(max_size=120), st.integers(0, 9))
def test_no_number_is_put_in(text: str, seed: int) -> None:
    assert overlap(reworded(text, random.Random(seed)), text).numbers == 1
