"""How many of the passages that bear an answer out it cites."""

from __future__ import annotations

from raglift.evaluation.metrics._base import Value
from raglift.evaluation.metrics._citations import CitationMetric
from raglift.evaluation.reasons import NONE_RELEVANT_SHOWN


class CitationRecall(CitationMetric):
    """The share of the relevant passages among those shown that the answer cites; 0 where it cites nothing.

    Where retrieval brought no relevant passage there was none to cite: that is None, and for the retrieval metrics.
    """

    name = "citation_recall"

    def of(self, cited: set[int], relevant: set[int]) -> Value:
        return Value(len(cited & relevant) / len(relevant)) if relevant else Value(None, NONE_RELEVANT_SHOWN)


PLUGIN = CitationRecall()
