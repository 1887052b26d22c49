"""What the metrics of machine translation share: a sentence against all references, by sacrebleu."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from raglift.evaluation.metrics._base import AnswerMetric, references, without_reference
from raglift.records import QAPair


class SentenceMetric(AnswerMetric):
    """A sentence score of sacrebleu (Post 2018), from 0 to 100 there and from 0 to 1 here.

    It takes all references at once: what counts against any of them is in its own definition.
    """

    @abstractmethod
    def percent(self, answer: str, references: Sequence[str]) -> float:
        """sacrebleu's score, 0 to 100."""

    def outside(self, question: QAPair) -> str:
        return without_reference(question)

    def value(self, question: QAPair, answer: str) -> float:
        # An answer that is the reference scores a rounding error above 100.
        return min(self.percent(answer, references(question)) / 100, 1.0)
