"""Why a score is None.

A question to which a metric does not apply by nature is left out of the metric's coverage; a question on which an arm
failed is not.
"""

from __future__ import annotations

UNANSWERABLE = "unanswerable"
NO_REFERENCE = "no reference answer"
NO_RELEVANT_PASSAGE = "no relevant passage"

NOT_APPLICABLE = frozenset({UNANSWERABLE, NO_REFERENCE, NO_RELEVANT_PASSAGE})
"""The reasons that lie in the question, whatever the arm does."""

NO_ANSWER = "no answer"
NO_RANKING = "no ranking"
