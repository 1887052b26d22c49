"""The heading under which somebody would look for the text; there is nothing to answer.

Valid: two to ten words that are no sentence and share a word with the text.
"""

from __future__ import annotations

from raglift.synthesis.kinds._base import Draft, QuestionKind, Shot
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.words import words

_LONGEST = 10


def check(draft: Draft) -> str | None:
    """Too long, a sentence, or off its text."""
    if len(words(draft.question)) > _LONGEST:
        return "too long for a title"
    if draft.question.rstrip().endswith((".", "?", "!", ":", ";", ",")):
        return "a sentence, not a title"
    if not content_stems(draft.question) & content_stems(draft.texts[0]):
        return "shares nothing with its text"
    return None


PLUGIN = QuestionKind(
    name="title",
    task="After each text stands the heading under which somebody would look for it.",
    label="Title",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.",
            "Landing cargo in the days before the pier",
            about="How goods used to be landed, for somebody who leafs through a history of the harbour.",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "Refunds after late cancellations",
            about="What is paid back after a late cancellation, for a traveller who looks through the terms.",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "Behaviour of the controller at low pressure",
            about="What happens when the pressure gets low, for somebody who looks a fault up in the manual.",
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "Frost weathering of rock",
            about="How frost breaks stones, for a pupil who looks for the chapter on it.",
        ),
        Shot(
            "A worker that raises an exception is removed from the pool and its task is retried by another one.",
            "Failing workers and the retry of tasks",
            about="What becomes of a failed job, for a programmer who looks through the documentation.",
        ),
    ),
    question=False,
    description=(
        "Write the heading under which somebody would look for the text below. A good heading has two to eight words, "
        "names the subject so that it can be told from other texts of the same collection, uses its own words where "
        "it can, and is neither a sentence nor a question."
    ),
    check=check,
)
