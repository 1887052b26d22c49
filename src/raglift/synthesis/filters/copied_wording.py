"""Questions that repeat their passage."""

from __future__ import annotations

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import longest_common_run, words

_RUN = 6


class CopiedWording:
    """Drops questions that copy a run of words: they teach matching strings, which BM25 already does."""

    name = "copied_wording"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Six words in a row, or nearly the whole of it, stand in the passage."""
        asked = words(candidate.question)
        run = longest_common_run(asked, words(candidate.text))
        return "copies its passage" if run >= _RUN or run >= max(3, 0.8 * len(asked)) else None


PLUGIN = CopiedWording()
