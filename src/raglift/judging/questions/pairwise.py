"""Which of two answers is better?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Example, Item
from raglift.judging.questions._base import NO_OTHER, JudgeQuestion, Label, joined, marked, referenced

_TASK = (
    "You compare two answers to a question. The better one is right and says what was asked for; where reference "
    "answers or passages are given, what agrees with them is right. Which answer is better, A or B?"
)
_ALONE = "Reply with A or B and nothing else."


class Pairwise(JudgeQuestion):
    """Which of two answers a judge prefers, asked in both orders: a tie unless both orders agree.

    Judges prefer what stands first (or second) whatever it says; a preference that turns with the order is none.

    References:
        Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", section 3.4 (swapped positions).
    """

    about: ClassVar[str] = "questions on which the arm's answer is preferred, a tie as a half"
    labels: ClassVar[tuple[Label, Label]] = (("A", " A"), ("B", " B"))
    compares: ClassVar[bool] = True

    def missing(self, item: Item) -> str:
        """Two answers are needed, and something to hold them against."""
        if not item.other or not item.other.strip():
            return NO_OTHER
        if not item.answer or not item.answer.strip():
            return NO_ANSWER
        return NO_REFERENCE if referenced(item) and not item.contexts else ""

    def prompts(self, item: Item) -> tuple[str, ...]:
        """Two calls, the second with the answers changed over; none where they are equal."""
        answer, other = (item.answer or "").strip(), (item.other or "").strip()
        return (self._prompt(item, answer, other), self._prompt(item, other, answer)) if answer != other else ()

    def _prompt(self, item: Item, first: str, second: str) -> str:
        parts = [_TASK, marked("question", item.question)]
        if any(text.strip() for text in item.references):
            parts.append(marked("reference", joined(item.references)))
        elif item.contexts:
            parts.append(marked("passages", joined(item.contexts)))
        return "\n\n".join([*parts, marked("answer_A", first), marked("answer_B", second), _ALONE])

    def value(self, labels: Sequence[str]) -> float:
        """1 where both orders prefer the answer, 0 where both prefer the other one, else 0.5."""
        if tuple(labels) == ("A", "B"):
            return 1.0
        return 0.0 if tuple(labels) == ("B", "A") else 0.5

    def examples(self, known: Sequence[Item], most: int, seed: int) -> list[Example]:
        """A right answer beside a wrong one, and a wrong one beside a right one."""
        rng = random.Random(f"{seed}/{type(self).__name__}")
        row = [item for item in known if not referenced(item)]
        rng.shuffle(row)
        found: dict[bool, list[Example]] = {True: [], False: []}
        for item in row:
            good = len(found[True]) <= len(found[False])
            made = self.wrong(item, row, rng) if len(found[good]) < most else None
            if made is None:
                continue
            pair = (item.answer, made.item.answer) if good else (made.item.answer, item.answer)
            found[good].append(Example(replace(item, answer=pair[0], other=pair[1]), good, made.how))
        return found[True] + found[False]


PLUGIN = Pairwise
