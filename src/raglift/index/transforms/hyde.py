"""HyDE: a passage that might answer the question is written, and passages like it are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from raglift.index.dense import Search
from raglift.index.transforms._base import Messages, QueryTransform, chat, distinct

_TASK = "Write a short passage of a document that answers the user's question. Be concrete. Write the passage alone."
_EXAMPLES = (
    (
        "When does the museum shut on Sundays?",
        "The museum is open from Tuesday to Saturday between 10 and 18 o'clock. On Sundays its doors close at 16.",
    ),
    (
        "Why does my fridge make a loud noise?",
        "A loud hum usually comes from the compressor or from a fan that ice has reached. Defrost the appliance, and "
        "see that it stands level and clear of the wall.",
    ),
)


class Hyde(QueryTransform):
    """Searches by the mean of the question's vector and of those of hypothetical passages; BM25 reads the question.

    The passages are encoded as passages, with the model's prompt for them.

    References:
        Gao et al. 2022, "Precise Zero-Shot Dense Retrieval without Relevance Labels", equation 8.
    """

    when: ClassVar[str] = (
        "the embedding model tells questions from passages badly, and the language model knows the field"
    )
    paper: ClassVar[str] = "Gao et al. 2022"
    line: ClassVar[bool] = False

    max_new_tokens: int = Field(default=64, ge=4, le=512, description="longest passage, in tokens")

    def messages(self, question: str) -> Messages:
        """Two questions with passages, and the question."""
        return chat(_TASK, _EXAMPLES, question)

    def searches(self, question: str, written: Sequence[str]) -> tuple[Search, ...]:
        """One search, by the question and all passages."""
        return (Search(question, passages=tuple(distinct(written))),)


PLUGIN = Hyde
