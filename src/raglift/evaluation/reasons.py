"""Why a score is None.

A question to which a metric does not apply by nature is left out of the metric's coverage; a question on which an arm
failed is not.
"""

from __future__ import annotations

UNANSWERABLE = "unanswerable"
ANSWERABLE = "answerable"
NO_REFERENCE = "no reference answer"
NO_NUMBER = "no number in the reference answers"
NO_JSON = "no JSON in the reference answers"
NO_RELEVANT_PASSAGE = "no relevant passage"
NO_SPAN = "no characters given as evidence"
NO_PASSAGE_SHOWN = "no passage shown"

NOT_APPLICABLE = frozenset(
    {
        *(UNANSWERABLE, ANSWERABLE, NO_REFERENCE, NO_NUMBER, NO_JSON),
        *(NO_RELEVANT_PASSAGE, NO_SPAN, NO_PASSAGE_SHOWN),
    }
)
"""The reasons that lie in the question, or in an arm that answers without passages, whatever it answers."""

NO_ANSWER = "no answer"
NO_RANKING = "no ranking"
NO_CITATION = "no citation"
NONE_RELEVANT_SHOWN = "no relevant passage shown"
NO_WORD = "no word to count"
