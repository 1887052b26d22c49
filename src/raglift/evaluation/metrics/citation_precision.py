"""How many of an answer's citations name a passage that bears it out."""

from __future__ import annotations

from raglift.evaluation.metrics._base import Value
from raglift.evaluation.metrics._citations import CitationMetric
from raglift.evaluation.reasons import NO_CITATION


class CitationPrecision(CitationMetric):
    """The share of the cited passages that are relevant; a number that no passage has is a wrong citation.

    An answer that cites nothing has no precision: it is None and lowers the coverage. `citation_recall` counts it as 0.
    """

    name = "citation_precision"

    def of(self, cited: set[int], relevant: set[int]) -> Value:
        return Value(len(cited & relevant) / len(cited)) if cited else Value(None, NO_CITATION)


PLUGIN = CitationPrecision()
