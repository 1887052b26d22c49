"""The default approach, to the letter: training sets and answers of earlier runs stay good."""

from __future__ import annotations

from raglift import plugins
from raglift.config import LLMConfig

GROUNDED = plugins.load("prompt", "grounded")


def test_the_messages() -> None:
    assert (GROUNDED.name, GROUNDED.version) == ("grounded", 1)
    assert GROUNDED.messages("Who?", ["First.", "Second\nline."]) == [
        {
            "role": "system",
            "content": "Answer the question in a few words, taken from the passages. If the passages do not hold the "
            "answer, say: The documents do not say.",
        },
        {"role": "user", "content": "[1] First.\n\n[2] Second\nline.\n\nQuestion: Who?"},
    ]
    assert GROUNDED.messages("Who?", []) == [
        {
            "role": "system",
            "content": "Answer the question in a few words. If you do not know the answer, say: "
            "The documents do not say.",
        },
        {"role": "user", "content": "Question: Who?"},
    ]


def test_what_is_written_is_the_answer() -> None:
    assert GROUNDED.target(" 4 p.m.", "It closes at 4 p.m.") == " 4 p.m."
    assert GROUNDED.read(' "It closes." Answer: noon ') == ' "It closes." Answer: noon '
    assert GROUNDED.quote_tokens == 0
    assert LLMConfig().new_tokens == LLMConfig().max_new_tokens == 32
