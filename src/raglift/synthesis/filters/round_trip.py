"""Questions that do not find their own passage."""

from __future__ import annotations

from raglift.synthesis.candidate import Accepted, Candidate

_TRAIN, _HELD_OUT = 5, 50
"""34 of the 36 questions labelled by hand (`scripts/filter_quality.py`) whose rank is from 6 to 10 are bad."""


class RoundTrip:
    """Drops a question that finds its passage neither with BM25 nor with the base embedding model.

    Such a question is about something else, or about everything. For questions that will judge models the bound is
    loose and either retriever is enough, since a test filtered by the base model alone would favour it.

    References:
        Alberti et al. 2019, "Synthetic QA Corpora Generation with Roundtrip Consistency".
        Dai et al. 2023, "Promptagator", section 3.2.
    """

    name = "round_trip"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Its own passage is not among the first 5 (training) or 50 (development and test)."""
        limit = _TRAIN if candidate.split == "train" else _HELD_OUT
        return "does not find its passage" if candidate.rank > limit else None


PLUGIN = RoundTrip()
