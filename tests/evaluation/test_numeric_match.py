"""Numbers are found however they are written, and nothing else is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.metrics.numeric_match import numbers
from raglift.evaluation.response import score_answers


def outcome(make_question: Any, answer: str, references: tuple[str, ...]) -> Any:
    [score] = score_answers(
        [make_question(answers=references)],
        {"q": answer},
        ["numeric_match"],
        "arm",
        lambda texts: np.empty((0, 1), np.float32),
    )
    return score.reason or score.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234,567 and 1\u202f234\u202f567", [1234567, 1234567]),
        ("1,234.5", [1234.5]),
        ("$1.5 million", [1.5e6]),
        ("$1.5M, 2K or 3B", [1.5e6, 2e3, 3e9]),
        ("2 thousand, 3-billion, 4 Trillions, 5bn, 6 mn, 7mln, 8 tn", [2e3, 3e9, 4e12, 5e9, 6e6, 7e6, 8e12]),
        ("5%, 5 percent, 5 per cent and 5 pct", [0.05] * 4),
        ("-5, \u22125 and -$5", [-5] * 3),
        ("2019-2021", [2019, 2021]),  # a range and not a negative number
        ("a - 5", [5]),
        (".5 and 0.5", [0.5, 0.5]),
        ("In 1990.", [1990]),
        ("3.11.2", [3.11, 2]),
        ("12,34", [12, 34]),  # no group of three
        ("12,3456", [12, 3456]),
        ("3rd of 5km", [3, 5]),
        ("5 Kelvin, 5 Bananas, 5 mnemonics, 5 millionaires", [5] * 4),
        ("Q3, COVID19, H2O, v5", []),
        ("twelve", []),
        ("", []),
    ],
)
def test_numbers_are_read(text: str, expected: list[float]) -> None:
    assert numbers(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Revenue was 1,500,000 dollars in 2020.", ("$1.5 million",), 1.0),
        ("$1.5 billion", ("$1.5 million",), 0.0),
        ("5%", ("0.05",), 1.0),
        ("5", ("5%",), 0.0),
        ("-5", ("5",), 0.0),
        ("100.00001", ("100",), 1.0),  # by a ten-millionth of it
        ("100.001", ("100",), 0.0),
        ("12 apples", ("12 apples and 3 pears",), 0.0),  # one of two is missing
        ("3 pears and 12 apples", ("12 apples and 3 pears",), 1.0),
        ("7", ("12", "7"), 1.0),
        ("nothing", ("a dozen", "12"), 0.0),
        ("a dozen", ("a dozen", "12"), 0.0),  # a reference without a number is none to match
        ("", ("12",), 0.0),
        ("12", ("a dozen",), "no number in the reference answers"),
        ("12", (), "no reference answer"),
    ],
)
def test_the_numbers_of_one_reference_must_be_there(
    make_question: Any, answer: str, references: tuple[str, ...], expected: float | str
) -> None:
    assert outcome(make_question, answer, references) == expected


@given(st.integers(-(10**15), 10**15))
def test_separators_and_words_around_a_number_do_not_matter(number: int) -> None:
    assert numbers(f"It is {number:,} dollars.") == numbers(str(number)) == [number]


@given(st.integers(1, 10**6), st.sampled_from([("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12)]))
def test_a_word_for_a_power_of_ten_is_its_zeros(number: int, word: tuple[str, int]) -> None:
    name, zeros = word
    assert numbers(f"{number} {name}") == pytest.approx(numbers(str(number) + "0" * zeros))


@given(st.text())
def test_any_text_has_numbers_or_none(text: str) -> None:
    assert all(isinstance(number, float) for number in numbers(text))
