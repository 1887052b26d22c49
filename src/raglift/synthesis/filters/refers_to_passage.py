"""Questions that only make sense beside their passage."""

from __future__ import annotations

import re

from raglift.synthesis.candidate import Accepted, Candidate

_POINTING = re.compile(
    r"\b(this|the|that|given|following|above) (passage|text|section|paragraph|excerpt|document|sentence|statement|"
    r"example|code|article|author|following|name of the (person|company|author|book))\b|\babove\b|\bmentioned\b|"
    r"\baccording to\b",
    re.IGNORECASE,
)


class RefersToPassage:
    """Drops questions that point at a passage which the asker of a real question does not see."""

    name = "refers_to_passage"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """It says "the text", "the example" and the like, where the passage itself does not."""
        found = _POINTING.search(candidate.question)
        return "points at its passage" if found and found.group().lower() not in candidate.text.lower() else None


PLUGIN = RefersToPassage()
