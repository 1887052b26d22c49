"""How long an answer is, how easy to read, and whether it is JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.metrics.readability import reading_ease, syllables
from raglift.evaluation.response import score_answers

GETTYSBURG = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, "
    "and dedicated to the proposition that all men are created equal."
)
SPOKEN = "1 1 1 2 1 2 1 2 1 1 1 1 3 1 1 2 2 1 3 1 4 1 1 4 1 1 1 1 3 2"
# Flesch 1948, table 5: syllables in 100 words and words a sentence of each style of writing, and its reading ease.
STYLES = [
    (123, 8, 90, 100),
    (131, 11, 80, 90),
    (139, 14, 70, 80),
    (147, 17, 60, 70),
    (155, 21, 50, 60),
    (167, 25, 30, 50),
    (192, 29, 0, 30),
]


def outcome(make_question: Any, metric: str, answer: str | None, references: tuple[str, ...] = ()) -> Any:
    [score] = score_answers(
        [make_question(answers=references)],
        {"q": answer},
        [metric],
        "arm",
        lambda texts: np.empty((0, 1), np.float32),
    )
    return score.reason or score.value


@pytest.mark.parametrize(
    ("answer", "words"), [("", 0), ("  \n", 0), ("Paris", 1), ("It is\tin  Paris.\n", 4), (None, "no answer")]
)
def test_length_is_words_with_and_without_a_reference(make_question: Any, answer: str | None, words: Any) -> None:
    assert outcome(make_question, "answer_length", answer) == words
    assert outcome(make_question, "answer_length", answer, ("Paris",)) == words


@pytest.mark.parametrize(("syllables_in_100", "words", "low", "high"), STYLES)
def test_the_formula_is_fleschs(syllables_in_100: int, words: int, low: int, high: int) -> None:
    assert low <= reading_ease(syllables_in_100 / 100, words) <= high


def test_syllables_of_words_that_the_rules_were_not_made_on() -> None:
    found = [syllables(word.strip(",.")) for word in GETTYSBURG.split()]
    spoken = list(map(int, SPOKEN.split()))
    assert sum(map(int.__eq__, found, spoken)) >= 0.9 * len(spoken)
    assert sum(found) == pytest.approx(sum(spoken), rel=0.05)


@pytest.mark.parametrize(
    ("word", "count"),
    [
        *(("make", 1), ("table", 2), ("names", 1), ("boxes", 2), ("jumped", 1), ("wanted", 2), ("science", 2)),
        *(("idea", 3), ("the", 1), ("rhythm", 2), ("statement", 2), ("unique", 2), ("don't", 1), ("education", 4)),
    ],
)
def test_syllables_are_counted_by_ear(word: str, count: int) -> None:
    assert syllables(word) == count == syllables(word.upper())


def test_ease_is_of_words_and_sentences(make_question: Any) -> None:
    assert outcome(make_question, "readability", "The cat sat. The dog ran!") == 100  # 121.9 - 3.0, cut off
    text = "The revenue of the company increased. It is a table"  # 16 syllables, 10 words, 2 sentences
    assert outcome(make_question, "readability", text) == pytest.approx(206.835 - 84.6 * 1.6 - 1.015 * 5)
    assert outcome(make_question, "readability", "Version 3.5 is a table 7!") == pytest.approx(
        206.835 - 84.6 * 6 / 4 - 1.015 * 4
    )
    assert outcome(make_question, "readability", "Institutional incomprehensibility notwithstanding") == 0
    for empty in ("", "42", "\u6771\u4eac"):
        assert outcome(make_question, "readability", empty) == "no word to count"


@given(st.text())
def test_ease_lies_within_its_bounds_whatever_is_written(make_question: Any, text: str) -> None:
    found = outcome(make_question, "readability", text)
    assert found == "no word to count" or 0 <= found <= 100


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"b": [2], "a": null}', 1.0),
        (' {"a": 1, "b": 2}\n', 1.0),
        ('{"a": 1}', 0.0),
        ('{"a": 1, "b": 2, "c": 3}', 0.0),
        ("[1, 2]", 0.0),
        ('Here it is: {"a": 1, "b": 2}', 0.0),
        ('```json\n{"a": 1, "b": 2}\n```', 0.0),
        ("{'a': 1, 'b': 2}", 0.0),
        ('{"a": NaN, "b": 2}', 0.0),
        ("", 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_json_has_the_form_of_a_reference(make_question: Any, answer: str, expected: float) -> None:
    assert outcome(make_question, "json_valid", answer, ("no JSON", '{"a": 5, "b": 6}')) == expected


def test_an_array_is_an_array_and_other_references_ask_for_no_json(make_question: Any) -> None:
    assert outcome(make_question, "json_valid", "[]", ("[1, 2]",)) == 1
    assert outcome(make_question, "json_valid", '{"a": 1}', ("[1, 2]", '{"a": 2}')) == 1
    assert outcome(make_question, "json_valid", "{}", ("[1, 2]",)) == 0
    for reference in ("Paris", "1990", '"Paris"', "null", "{"):
        assert outcome(make_question, "json_valid", "{}", (reference,)) == "no JSON in the reference answers"


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4))
def test_what_json_writes_is_valid(make_question: Any, value: dict[str, int]) -> None:
    assert outcome(make_question, "json_valid", json.dumps(value, indent=2), (json.dumps(value),)) == 1
