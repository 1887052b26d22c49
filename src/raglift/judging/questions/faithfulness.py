"""Do the passages support the answer?"""

from __future__ import annotations

from typing import ClassVar

from raglift.judging.items import Item
from raglift.judging.questions._base import JudgeQuestion, asked, grounded, joined

_TASK = (
    "You check whether an answer is supported by passages. It is supported if everything that it says stands in the "
    "passages or follows from them. It is not supported if it adds, changes or contradicts anything, even if that is "
    "true. Is the answer supported?"
)


class Faithfulness(JudgeQuestion):
    """Whether everything that an answer says stands in the passages that it was made from."""

    about: ClassVar[str] = "answers that their passages support"

    def missing(self, item: Item) -> str:
        """An answer that claims something, and passages, are needed."""
        return grounded(item)

    def prompts(self, item: Item) -> tuple[str, ...]:
        """One call with passages, question and answer."""
        parts = ("passages", joined(item.contexts)), ("question", item.question), ("answer", item.answer or "")
        return (asked(_TASK, *parts),)


PLUGIN = Faithfulness
