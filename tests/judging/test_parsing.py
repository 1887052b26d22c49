"""A label counts where it stands alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.judging.parsing import parse_label

YES_NO = ("Yes", "No")


@pytest.mark.parametrize("reply", ["Yes", "yes.", " YES\n", "**Yes**", '"Yes."', "`yes`", "(Yes)", "[Yes]!"])
def test_a_label_alone_is_that_label(reply: str) -> None:
    assert parse_label(reply, YES_NO) == ("Yes", "")


@pytest.mark.parametrize(
    "reply",
    [
        "No. Yesterday it was different.",
        "Yes, because the passage says so.",
        "Yes and no",
        "yesterday",
        "not sure",
        "Yes\nNo",
        "The answer is yes",
        "eyes",
        "Y",
    ],
)
def test_anything_else_is_none_with_what_was_said(reply: str) -> None:
    label, reason = parse_label(reply, YES_NO)
    assert label is None
    assert "not a label alone" in reason
    assert " ".join(reply.split())[:20] in reason


def test_nothing_is_an_empty_reply() -> None:
    assert parse_label(" \n", YES_NO) == (None, "empty reply")
    assert parse_label("...", ("A", "B"))[0] is None


def test_a_long_reply_is_cut_in_the_reason() -> None:
    assert len(parse_label("well " * 100, YES_NO)[1]) < 80


@given(st.text())
def test_a_label_is_never_found_in_a_text_with_other_words(text: str) -> None:
    label, reason = parse_label(text, YES_NO)
    words = "".join(character for character in text.casefold() if character.isalnum())
    assert (label is not None) == (words in ("yes", "no") and reason == "")
