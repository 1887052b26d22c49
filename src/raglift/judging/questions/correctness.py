"""Does the answer say what the reference says?"""

from __future__ import annotations

from typing import ClassVar

from raglift.judging.items import Item
from raglift.judging.questions._base import JudgeQuestion, asked, referenced

_TASK = (
    "You check an answer against reference answers that are known to be right. The answer is correct if it says the "
    "same as one of them, in whatever words. It is not correct if it contradicts them, says something else, or does "
    "not answer. Is the answer correct?"
)


class Correctness(JudgeQuestion):
    """Whether an answer says what one of the reference answers says."""

    about: ClassVar[str] = "answers that say what the reference says"

    def missing(self, item: Item) -> str:
        """An answer and a reference are needed."""
        return referenced(item)

    def prompts(self, item: Item) -> tuple[str, ...]:
        """One call with question, references and answer."""
        references = "\n".join(f"- {text.strip()}" for text in item.references if text.strip())
        parts = ("question", item.question), ("reference", references), ("answer", item.answer or "")
        return (asked(_TASK, *parts),)


PLUGIN = Correctness
