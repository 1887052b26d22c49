"""Which pieces of a chunk are asked about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.synthesis.evidence import evidence_texts

FIRST = "The harbour office keeps the keys of every shed on the quay."
SECOND = "Boats that leave before dawn must sign the green book at the gate."
LONG = "The council shall review the mooring fees of all boats in the lower basin every spring"


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_sentence_comes_with_the_one_before_it() -> None:
    assert evidence_texts(f"{FIRST}\n{SECOND}") == [FIRST, f"{FIRST} {SECOND}"]


def test_sentences_glued_together_are_taken_apart() -> None:
    parts = [f"{LONG} and shall publish what it finds.", f"{LONG} as they were before.", f"{LONG} that did not pay."]
    found = evidence_texts("".join(parts))
    assert [piece.rpartition(". ")[2] for piece in found] == parts


@pytest.mark.parametrize("heading", ["Mooring_Rules", "## Rules of the quay", "3 The quay\n"])
def test_a_heading_does_not_run_into_the_sentence_below(heading: str) -> None:
    assert evidence_texts(f"{heading}\n{FIRST}") == [FIRST]
    assert evidence_texts(f"{FIRST}\n{heading}\n{SECOND}") == [FIRST, SECOND]


def test_a_wrapped_line_is_no_heading() -> None:
    wrapped = FIRST.replace(" keeps", "\nkeeps").replace(" every", "\nEvery")
    assert evidence_texts(wrapped) == [wrapped.replace("\n", " ")]


def test_a_name_with_a_dot_is_not_a_seam_in_a_sentence_of_usual_length() -> None:
    text = "A counter is made by calling collections.Counter with the words that are to be counted."
    assert evidence_texts(text) == [text]


def test_a_long_sentence_is_cut_at_semicolons() -> None:
    text = "; ".join([f"{LONG} of year number {year}" for year in ("one", "two", "three", "four")]) + "."
    found = evidence_texts(text)
    assert len(found) == 4
    assert found[0] == f"{LONG} of year number one;"


def test_prose_without_an_end_gives_the_beginning_of_its_longest_piece() -> None:
    text = " ".join([LONG] * 6)
    (found,) = evidence_texts(text)
    assert text.startswith(found + " ")
    assert 200 < len(found) <= 300


@pytest.mark.parametrize(
    "text", ["", "Short.", "| 12 | 14 | 99.2 | 17 | 18 | 11 | 12 | 0.5 | 0.7 | 12 | 14 |", "x" * 400]
)
def test_tables_and_scraps_give_nothing(text: str) -> None:
    assert evidence_texts(text) == []


@given(st.text(alphabet=st.sampled_from("abcXY .;!?\n(1"), max_size=900))
def test_every_piece_stands_in_the_chunk(chunk: str) -> None:
    for piece in evidence_texts(chunk):
        assert squeezed(piece) in squeezed(chunk)
        assert 40 <= len(piece) <= 501
