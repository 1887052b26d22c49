"""What a claim changes shows beside the sentence that it was made of."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from raglift.grounding.alignment import align
from raglift.grounding.passages import read
from raglift.grounding.replies import reply

PASSAGE = (
    "Ada Lovelace met Charles Babbage in London in 1833. She wrote 7 notes on the large engine of her friend in Turin. "
    "The engine was never built by its maker."
)


def test_a_sentence_as_it_stands_is_covered_and_unchanged() -> None:
    found = align("Ada Lovelace met Charles Babbage in London in 1833.", PASSAGE)
    assert (found.covered, found.kept, found.in_pairs) == (1, 1, 1)
    changes = ("replaced", "added", "one_for_another", "put_in", "denied", "turned", "contradicted", "misplaced")
    assert not any(getattr(found, name) for name in changes)


@pytest.mark.parametrize(
    ("claim", "seen"),
    [
        ("Ada Lovelace met Charles Babbage in Turin in 1833.", {"name_elsewhere", "misplaced", "one_for_another"}),
        ("Ada Lovelace met Charles Babbage in London in 7.", {"number_elsewhere", "misplaced"}),
        ("Ada Lovelace met Charles Babbage in Paris in 1833.", {"foreign_name", "contradicted", "misplaced"}),
        ("Ada Lovelace met Charles Babbage in London in 1834.", {"foreign_number", "contradicted", "misplaced"}),
        ("Charles Babbage met Ada Lovelace in London in 1833.", {"turned", "turns", "misplaced"}),
        ("Ada Lovelace did not meet Charles Babbage in London in 1833.", {"denied", "contradicted"}),
        ("The engine was built by its maker.", {"denied", "contradicted"}),
        ("She wrote 7 notes on the small engine of her friend in Turin.", {"one_for_another", "replaced"}),
    ],
)
def test_a_change_is_seen_as_what_it_is(claim: str, seen: set[str]) -> None:
    found = align(claim, PASSAGE)
    assert {name for name in seen if getattr(found, name) > 0} == seen


def test_what_is_left_out_changes_nothing() -> None:
    found = align("She wrote 7 notes on the engine.", PASSAGE)
    assert (found.kept, found.replaced, found.added, found.misplaced) == (1, 0, 0, 0)


def test_an_excerpt_holds_the_sentences_that_are_most_like_the_claim_in_their_order() -> None:
    assert read(PASSAGE).excerpt("The notes in Turin were on an engine that its maker built.") == (
        "She wrote 7 notes on the large engine of her friend in Turin. The engine was never built by its maker."
    )
    assert read("").excerpt("It is.") == ""


def test_an_answer_is_looked_for_where_the_question_is() -> None:
    right = reply("Whom did Lovelace meet in London?", "Charles Babbage", PASSAGE)
    wrong = reply("Whom did Lovelace meet in London?", "Turin", PASSAGE)
    assert (right.stands, wrong.stands) == (1, 1)
    assert right.asked_there > wrong.asked_there
    assert right.asked_elsewhere == 0 < wrong.asked_elsewhere
    assert right.around > wrong.around
    assert reply("Whom did she meet?", "Grace Hopper", PASSAGE).stands == 0


def test_an_answer_is_of_the_kind_that_was_asked_for_or_not() -> None:
    assert reply("Who met her?", "1833", PASSAGE).person_figure == 1
    assert reply("Who met her?", "Charles Babbage", PASSAGE).person_figure == 0
    assert reply("When did they meet?", "in London", PASSAGE).time_no_figure == 1
    assert reply("How many notes are there?", "1833", PASSAGE).amount_year == 1
    assert reply("Which town is it?", "7", PASSAGE).other_figure == 1


def test_of_nothing_nothing_is_said() -> None:
    assert all(0 <= value <= 1 for value in (*astuple(align("", "")), *astuple(reply("", "", ""))))
