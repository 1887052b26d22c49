"""Words as somebody types them into a search box; there is nothing to answer.

Valid: the filters `form` and `copied_wording` see to it.
"""

from __future__ import annotations

from raglift.synthesis.kinds._base import QuestionKind, Shot

PLUGIN = QuestionKind(
    name="keyword",
    task="After each text stand the few words that somebody would type into a search box to find it.",
    label="Search",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.",
            "unloading ships before the harbour",
            about="How goods used to be landed, for somebody who is curious about the old harbour.",
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "late cancellation refund fee",
            about="What a late cancellation costs, for a traveller who may have to stay at home.",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "low pressure valve behaviour",
            about="What happens when the pressure gets low, for a technician who looks a fault up.",
        ),
        Shot(
            "A worker that raises an exception is removed from the pool and its task is retried by another one.",
            "retry task after worker crash",
            about="What becomes of a failed job, for a programmer who relies on the pool.",
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "why frost breaks stone",
            about="What frost does to rock and why, for a pupil who wonders about broken stones.",
        ),
    ),
    question=False,
    description=(
        "Write what somebody would type into a search box who needs the text below but has not seen it. Good search "
        "words are two to six words for the subject and what is to be found out about it, not a sentence, and not all "
        "of them are the text's own."
    ),
)
