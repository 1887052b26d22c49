"""Length and form."""

from __future__ import annotations

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words

_LONGEST = 20
"""Of the questions labelled by hand (`scripts/filter_quality.py`) none above 18 words was good; some that people write
are a little longer."""


class Form:
    """Drops what is too short or too long, is no question where one was wanted, or runs in circles."""

    name = "form"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Too short, too long, no question mark, or the same three words twice."""
        asked = words(candidate.question)
        if len(asked) < (4 if candidate.kind.question else 2):
            return "too short"
        if len(asked) > _LONGEST:
            return "too long"
        if candidate.kind.question and not candidate.question.endswith("?"):
            return "not a question"
        runs = [tuple(asked[i : i + 3]) for i in range(len(asked) - 2)]
        return "repeats itself" if len(set(runs)) < len(runs) else None


PLUGIN = Form()
