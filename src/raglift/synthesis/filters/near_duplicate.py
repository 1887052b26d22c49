"""Questions that were asked before."""

from __future__ import annotations

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words

_SIMILAR = 0.8


class NearDuplicate:
    """Drops a question whose words are nearly those of one that was accepted."""

    name = "near_duplicate"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Jaccard similarity of the word sets of at least 0.8."""
        asked = frozenset(words(candidate.question))
        for other in accepted.questions:
            if len(asked & other) >= _SIMILAR * len(asked | other):
                return "asked before"
        return None


PLUGIN = NearDuplicate()
