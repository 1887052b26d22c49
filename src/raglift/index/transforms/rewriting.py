"""Rewriting: the question as a search query, in place of the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from raglift.index.dense import Search
from raglift.index.transforms._base import Messages, QueryTransform, chat, distinct

_TASK = "Rewrite the user's message as one short, complete search query. Keep every name and number. Add nothing else."
_EXAMPLES = (
    ("hi, i was wondering, when does the museum shut on sundays?", "museum closing time on Sundays"),
    ("My fridge makes a noise like a motorboat, what might be the matter with it?", "cause of loud fridge noise"),
    ("What did Okafor say in 2019 about the bridge?", "Okafor 2019 statement about the bridge"),
)


class Rewriting(QueryTransform):
    """Searches for a rewritten question alone.

    References:
        Ma et al. 2023, "Query Rewriting for Retrieval-Augmented Large Language Models", section 3.1.
    """

    when: ClassVar[str] = "people ask at length or in passing, and the documents are terse"
    paper: ClassVar[str] = "Ma et al. 2023"

    samples: int = Field(default=1, ge=1, le=1, description="one query takes the question's place")

    def messages(self, question: str) -> Messages:
        """A few rewritings, and the question."""
        return chat(_TASK, _EXAMPLES, question)

    def searches(self, question: str, written: Sequence[str]) -> tuple[Search, ...]:
        """The query that was written."""
        return (Search((distinct(written) or [question])[0]),)


PLUGIN = Rewriting
