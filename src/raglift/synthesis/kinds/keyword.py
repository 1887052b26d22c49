"""Words as somebody types them into a search box; there is nothing to answer."""

from __future__ import annotations

from raglift.synthesis.kinds._base import QuestionKind, Shot

PLUGIN = QuestionKind(
    name="keyword",
    task="After each text stand the few words that somebody would type into a search box to find it.",
    label="Search",
    shots=(
        Shot(
            "Before then, cargo was carried ashore in flat boats called lighters.", "unloading ships before the harbour"
        ),
        Shot(
            "Later cancellations are refunded at 50 percent, less an administration fee of 12 euros.",
            "late cancellation refund fee",
        ),
        Shot(
            "If the pressure drops below 2 bar, the controller closes valve B and writes an entry to the error log.",
            "low pressure valve behaviour",
        ),
        Shot(
            "A worker that raises an exception is removed from the pool and its task is retried by another one.",
            "retry task after worker crash",
        ),
        Shot(
            "Frost splits the rock because water expands by about nine percent when it freezes.",
            "why frost breaks stone",
        ),
    ),
    question=False,
)
