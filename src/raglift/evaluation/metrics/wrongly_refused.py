"""How often an arm refuses what the documents answer."""

from __future__ import annotations

from raglift.abstention import abstains
from raglift.evaluation.metrics._base import AnswerMetric
from raglift.evaluation.reasons import UNANSWERABLE
from raglift.evaluation.scale import Scale
from raglift.records import QAPair


class WronglyRefused(AnswerMetric):
    """1 if the arm refused an answerable question, 0 if it answered it, rightly or wrongly. Less is better.

    The share of false refusals; a refusal of an unanswerable question is right and lies outside.
    """

    name = "wrongly_refused"
    scale = Scale(better="lower")

    def outside(self, question: QAPair) -> str:
        return "" if question.answerable else UNANSWERABLE

    def value(self, question: QAPair, answer: str) -> float:
        return float(abstains(answer))


PLUGIN = WronglyRefused()
