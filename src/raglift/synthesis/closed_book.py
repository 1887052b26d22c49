"""The closed-book prompt: a question alone, after worked pairs of common knowledge that show how long an answer is."""

from __future__ import annotations

_SHOTS = (
    ("What is the capital of Portugal?", "Lisbon"),
    ("Why does ice float on water?", "it is less dense than water"),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci"),
    ("What happens to iron that is left out in the rain?", "it rusts"),
    ("Which gas do plants take from the air?", "carbon dioxide"),
)
"""Common knowledge, so that the pattern is to recall; long and short answers, as passages give them."""
_RECALL = (
    "Below are worked examples and then one more question. Reply with its answer alone, in a few words, from what you "
    "know; where you do not know it, reply with your best guess. Do not explain.\n\n"
)

PREFIX = "\n\n".join(
    [
        "Each question is answered in a few words, from general knowledge.",
        *(f"Question: {asked}\nAnswer: {answer}" for asked, answer in _SHOTS),
    ]
)
"""What stands before every question; it does not end in white space, see `PromptStyle.prefix`."""


def guess_prompt(question: str) -> str:
    """The continuation of `PREFIX` that asks for the answer to `question`."""
    return f"\n\nQuestion: {question}\nAnswer:"


def llm_guess_prompt(question: str) -> str:
    """What a writer that is sent whole prompts is sent for `question`."""
    return _RECALL + PREFIX + guess_prompt(question)
