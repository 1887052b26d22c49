"""A corruption says something else than its claim, of its own kind, or nothing at all."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift import plugins
from raglift.grounding.corruptions._base import Elsewhere
from raglift.grounding.spans import names, negations, numbers, plain_number

PASSAGE = (
    "Ada Lovelace met Charles Babbage in London in 1833. She wrote 7 notes on his engine, which was never built. "
    "Babbage increased his budget to 1,500 pounds before the work began."
)
ELSEWHERE = Elsewhere(
    ["Grace Hopper", "Paris"],
    ["The compiler was finished by Hopper in 1952.", "It ran on the UNIVAC."],
    ["the UNIVAC", "in 1952"],
)


def made(kind: str, claim: str, seed: int = 0, elsewhere: Elsewhere = ELSEWHERE) -> str | None:
    found: str | None = plugins.load("corruption", kind).corrupt(claim, PASSAGE, elsewhere, random.Random(seed))
    return found


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(plugins.names("corruption")), st.text(max_size=80), st.integers(0, 9))
def test_whatever_the_claim_it_is_changed_or_left(kind: str, claim: str, seed: int) -> None:
    assert made(kind, claim, seed) != claim


@pytest.mark.parametrize("seed", range(8))
def test_a_number_becomes_another_and_all_else_stays(seed: int) -> None:
    claim = "She wrote 7 notes in 1833."
    found = made("number", claim, seed)
    assert found is not None
    before = [claim[slice(*span)] for span in numbers(claim)]
    after = [found[slice(*span)] for span in numbers(found)]
    assert len(after) == 2
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert "".join(c for c in found if c.isalpha()) == "".join(c for c in claim if c.isalpha())


def test_half_of_the_numbers_are_ones_that_the_passage_holds() -> None:
    held = {"1833", "7", "1,500"}
    found = [made("number", "It took 12 years.", seed) or "" for seed in range(60)]
    near = sum(text.split()[2] in held for text in found)
    assert 15 <= near <= 45


@pytest.mark.parametrize("seed", range(8))
def test_a_name_becomes_one_that_the_claim_does_not_hold(seed: int) -> None:
    found = made("entity", "In the end Charles Babbage wrote nothing.", seed)
    assert found is not None
    assert "Babbage" not in found
    assert found.startswith("In the end ")
    assert found.endswith(" wrote nothing.")
    assert made("entity", "Nothing was written at all.", seed) is None


@pytest.mark.parametrize(
    ("claim", "corrupted"),
    [
        ("The engine was built.", "The engine was not built."),
        ("It isn't an engine.", "It is an engine."),
        ("It did not run.", "It did run."),
        ("It cannot run.", "It can run."),
        ("There is no engine.", "There is a engine."),
        ("Engines ran.", None),
        ("The engine can't run.", "The engine can run."),
        ("It won't run.", "It will run."),
        ("Not only is it old, it is broken.", None),
    ],
)
def test_the_opposite_is_said_by_one_not(claim: str, corrupted: str | None) -> None:
    assert made("negation", claim) == corrupted
    if corrupted is not None:
        assert negations(claim) % 2 != negations(corrupted) % 2


def test_two_names_or_two_numbers_change_places() -> None:
    found = {made("swap", "It is said that Lovelace taught Babbage for 3 of 9 years.", seed) for seed in range(20)}
    assert found == {
        "It is said that Babbage taught Lovelace for 3 of 9 years.",
        "It is said that Lovelace taught Babbage for 9 of 3 years.",
    }
    assert made("swap", "It is said of Lovelace and Babbage.") is None, "in either order they are the same two"


def test_a_word_becomes_its_opposite() -> None:
    found = {made("antonym", "It increased before the end.", seed) for seed in range(30)}
    assert found == {
        "It decreased before the end.",
        "It increased after the end.",
        "It increased before the begin.",
    }
    assert made("antonym", "It stayed.") is None


def test_an_invention_is_of_another_document_and_an_answer_of_another_question() -> None:
    assert {made("invention", "She met him.", seed) for seed in range(20)} == set(ELSEWHERE.sentences)
    assert made("invention", "She met him.", elsewhere=Elsewhere([], [PASSAGE[:51]])) is None
    found = {made("wrong_answer", "Where did it run? the UNIVAC", seed) for seed in range(20)}
    assert found == {"Where did it run? in 1952"}
    assert {made("wrong_answer", "the UNIVAC", seed) for seed in range(20)} == {"in 1952"}
    assert made("wrong_answer", "It ran.", elsewhere=Elsewhere([], [])) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1,500", "1500", True), ("2.50", "2.5", True), ("007", "7", True), ("1.5", "15", False), ("100", "1", False)],
)
def test_numbers_are_compared_by_what_they_say(one: str, other: str, same: bool) -> None:
    assert (plain_number(one) == plain_number(other)) is same


def test_names_are_not_the_word_that_begins_a_sentence() -> None:
    text = "The Bank of England met Ada there. "
    assert [text[slice(*span)] for span in names(text)] == ["Bank of England", "Ada"]
    assert names("Nothing here") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada Lovelace wrote notes.", ["Ada Lovelace"]),
        ("Engineers wrote notes.", []),
        ("Critics of Babbage wrote notes.", []),
        ("Paris", ["Paris"]),
        ("Paris.", ["Paris"]),
        ("The", []),
        ("When Ada slept, nothing ran.", ["Ada"]),
    ],
)
def test_the_first_word_is_a_name_where_it_can_be_told(text: str, found: list[str]) -> None:
    assert [text[slice(*span)] for span in names(text)] == found
