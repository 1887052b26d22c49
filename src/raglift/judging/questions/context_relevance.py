"""Do the passages hold what is needed to answer?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from raglift.judging.items import Example, Item
from raglift.judging.questions._base import NO_CONTEXT, JudgeQuestion, asked, joined

_TASK = (
    "You check whether passages help to answer a question. They do if they hold the answer or a part of it. They do "
    "not if they are only about the same subject, or about something else. Do the passages help to answer the question?"
)


class ContextRelevance(JudgeQuestion):
    """Whether the passages that were retrieved hold what is needed to answer; the answer is not shown."""

    about: ClassVar[str] = "questions whose passages hold the answer or a part of it"

    def missing(self, item: Item) -> str:
        """Passages are needed."""
        return "" if any(text.strip() for text in item.contexts) else NO_CONTEXT

    def prompts(self, item: Item) -> tuple[str, ...]:
        """One call with question and passages."""
        return (asked(_TASK, ("question", item.question), ("passages", joined(item.contexts))),)

    def wrong(self, known: Item, others: Sequence[Item], rng: random.Random) -> Example | None:
        """The evidence of a question about another document, without a right answer in it."""
        references = [text.casefold() for text in known.references if text.strip()]
        apart = [
            other
            for other in others
            if other.document != known.document and not any(r in joined(other.contexts).casefold() for r in references)
        ]
        if not apart:
            return None
        return Example(replace(known, contexts=rng.choice(apart).contexts), False, "another document's passages")


PLUGIN = ContextRelevance
