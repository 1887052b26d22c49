"""Multi-query: the question and others that ask the same, their rankings fused by reciprocal ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from raglift.index.dense import Search
from raglift.index.transforms._base import Messages, QueryTransform, chat, distinct

_TASK = "Ask the user's question again in other words. Keep every name and number. Write one question and nothing else."
_EXAMPLES = (
    ("When does the museum shut on Sundays?", "What are the museum's closing hours on a Sunday?"),
    ("Why does my fridge make a loud noise?", "What causes a refrigerator to be noisy?"),
    ("What did Okafor say in 2019 about the bridge?", "Which statement on the bridge did Okafor give in 2019?"),
)


class MultiQuery(QueryTransform):
    """Searches for the question and for `samples` paraphrases of it.

    References:
        Rackauckas 2024, "RAG-Fusion: a New Take on Retrieval-Augmented Generation".
    """

    when: ClassVar[str] = "a question's own words are unlike those of the passage that answers it"
    paper: ClassVar[str] = "Rackauckas 2024"

    samples: int = Field(default=3, ge=1, le=16, description="paraphrases of a question")

    def messages(self, question: str) -> Messages:
        """A few paraphrases, and the question."""
        return chat(_TASK, _EXAMPLES, question)

    def searches(self, question: str, written: Sequence[str]) -> tuple[Search, ...]:
        """The question, then each other one once."""
        return tuple(Search(text) for text in distinct([question, *written])) or (Search(question),)


PLUGIN = MultiQuery
