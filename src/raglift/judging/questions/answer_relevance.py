"""Does the answer reply to the question?"""

from __future__ import annotations

from typing import ClassVar

from raglift.judging.items import Item
from raglift.judging.questions._base import JudgeQuestion, asked
from raglift.judging.wrong import WRONG_ANSWER

_TASK = (
    "You check whether an answer replies to a question. It does if it gives the kind of thing that was asked for, "
    "about the thing that was asked about, right or wrong. It does not if it is about something else. Does the "
    "answer reply to the question?"
)


class AnswerRelevance(JudgeQuestion):
    """Whether an answer, right or wrong, is about what was asked."""

    about: ClassVar[str] = "answers that reply to the question, right or wrong"
    corruptions: ClassVar[tuple[str, ...]] = (WRONG_ANSWER,)

    def prompts(self, item: Item) -> tuple[str, ...]:
        """One call with question and answer."""
        return (asked(_TASK, ("question", item.question), ("answer", item.answer or "")),)


PLUGIN = AnswerRelevance
