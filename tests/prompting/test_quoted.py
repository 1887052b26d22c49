"""A quote, then the answer."""

from __future__ import annotations

import pytest

from raglift import plugins

QUOTED, GROUNDED = plugins.load("prompt", "quoted"), plugins.load("prompt", "grounded")


def test_the_messages() -> None:
    system, user = QUOTED.messages("Who?", ["First.", "Second."])
    assert system == {
        "role": "system",
        "content": "Copy the one sentence of the passages that holds the answer, in quotation marks, then answer the "
        'question in a few words, taken from it. Write: "the sentence" Answer: the answer. '
        "If the passages do not hold the answer, say only: The documents do not say.",
    }
    assert user == {"role": "user", "content": "[1] First.\n\n[2] Second.\n\nQuestion: Who?"}
    assert QUOTED.messages("Who?", []) == GROUNDED.messages("Who?", [])


def test_what_is_to_be_written() -> None:
    assert QUOTED.target("at noon", "It closes at noon.") == '"It closes at noon." Answer: at noon'


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('"It closes at noon." Answer: at noon', "at noon"),
        (' "It closes\nat noon."\n\nAnswer: at noon\n', "at noon"),
        ('"He said "no" twice." Answer: "no"', '"no"'),
        ('"He wrote it." Answer: the line "Answer: 4"', 'the line "Answer: 4"'),
        ('"He wrote "Answer: 4"." Answer: he', "he"),  # a label within the quote is not its end
        ("The sentence is [1]. Answer: at noon", "at noon"),  # not in the form
        ('"It closes at noon, as on every other day of the', '"It closes at noon, as on every other day of the'),
        ('"It closes at noon." Answer:', ""),
        ("", ""),
    ],
)
def test_what_is_read(written: str, answer: str) -> None:
    assert QUOTED.read(written) == answer
