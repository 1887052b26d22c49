"""What a response metric is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE, UNANSWERABLE
from raglift.records import QAPair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed: TypeAlias = "Callable[[list[str]], NDArray[np.float32]]"
"""n texts -> (n, d) L2-normalised rows, from one model that no arm tuned."""


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value in [0, 1] for one answer, or None with a reason."""

    value: float | None
    reason: str = ""


class ResponseMetric(ABC):
    """Scores answers. Its file holds one instance, `PLUGIN`.

    Every value lies in [0, 1], so that answers that could not be scored can be bounded best and worst.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def score(self, questions: Sequence[QAPair], answers: Sequence[str | None], embed: Embed) -> list[Value]:
        """One value a question, in order.

        Args:
            questions: n questions.
            answers: What one arm answered to each, n in all; None where it gave no answer.
            embed: Sentence vectors for metrics that need them; the others never call it.
        """


class ReferenceMetric(ResponseMetric):
    """Compares an answer with each reference answer on its own; the best one counts."""

    @abstractmethod
    def compare(self, answer: str, reference: str) -> float:
        """The likeness of an answer and one reference, in [0, 1]."""

    def score(self, questions: Sequence[QAPair], answers: Sequence[str | None], embed: Embed) -> list[Value]:
        return [self._best(question, answer) for question, answer in zip(questions, answers, strict=True)]

    def _best(self, question: QAPair, answer: str | None) -> Value:
        missing = unscored(question, answer)
        if missing is not None or answer is None:
            return missing or Value(None, NO_ANSWER)
        return Value(max(self.compare(answer, reference) for reference in references(question)))


def references(question: QAPair) -> list[str]:
    """The question's reference answers, without blank ones."""
    return [answer for answer in question.answers if answer.strip()]


def unscored(question: QAPair, answer: str | None) -> Value | None:
    """Why a metric that compares with references does not apply, or None where it does."""
    if not question.answerable:
        return Value(None, UNANSWERABLE)
    if not references(question):
        return Value(None, NO_REFERENCE)
    if answer is None:
        return Value(None, NO_ANSWER)
    return None
