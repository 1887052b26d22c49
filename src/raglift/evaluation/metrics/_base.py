"""What a response metric is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from raglift.evaluation.judgements import Passage
from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE, UNANSWERABLE
from raglift.evaluation.scale import Scale
from raglift.records import QAPair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed: TypeAlias = "Callable[[list[str]], NDArray[np.float32]]"
"""n texts -> (n, d) L2-normalised rows, from one model that no arm tuned."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an arm answered to a question (None: nothing), and the passages that it was shown as [1], [2]..."""

    text: str | None
    passages: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value for one answer, within its scale, or None with a reason."""

    value: float | None
    reason: str = ""


class ResponseMetric(ABC):
    """Scores answers. Its file holds one instance, `PLUGIN`.

    `scale` says between which bounds the values lie, so that answers that could not be scored can be bounded best and
    worst, and which of them are better.
    """

    name: ClassVar[str]
    scale: ClassVar[Scale] = Scale()

    @abstractmethod
    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        """One value a question, in order.

        Args:
            questions: n questions.
            replies: What one arm answered to each, n in all.
            embed: Sentence vectors for metrics that need them; the others never call it.
        """


class AnswerMetric(ResponseMetric):
    """Looks at one answer at a time, and at nothing but the answer and its question."""

    def outside(self, question: QAPair) -> str:
        """Why the metric does not apply to a question, whatever is answered; empty where it does."""
        return ""

    @abstractmethod
    def value(self, question: QAPair, answer: str) -> float | Value:
        """The value of one answer to a question that the metric applies to."""

    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        return [self._one(question, reply.text) for question, reply in zip(questions, replies, strict=True)]

    def _one(self, question: QAPair, answer: str | None) -> Value:
        reason = self.outside(question)
        if reason or answer is None:
            return Value(None, reason or NO_ANSWER)
        found = self.value(question, answer)
        return found if isinstance(found, Value) else Value(found)


class ReferenceMetric(AnswerMetric):
    """Compares an answer with each reference answer on its own; the best one counts."""

    @abstractmethod
    def compare(self, answer: str, reference: str) -> float:
        """The likeness of an answer and one reference, within the metric's scale."""

    def outside(self, question: QAPair) -> str:
        return without_reference(question)

    def value(self, question: QAPair, answer: str) -> float | Value:
        return max(self.compare(answer, reference) for reference in references(question))


def references(question: QAPair) -> list[str]:
    """The question's reference answers, without blank ones."""
    return [answer for answer in question.answers if answer.strip()]


def without_reference(question: QAPair) -> str:
    """Why a metric that compares with references does not apply to a question, or nothing where it does."""
    if not question.answerable:
        return UNANSWERABLE
    return "" if references(question) else NO_REFERENCE


def unscored(question: QAPair, answer: str | None) -> Value | None:
    """Why a metric that compares with references has no score, or None where it has one."""
    reason = without_reference(question)
    if reason or answer is None:
        return Value(None, reason or NO_ANSWER)
    return None
