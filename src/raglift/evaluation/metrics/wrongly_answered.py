"""How often an arm answers what the documents do not say."""

from __future__ import annotations

from raglift.abstention import abstains
from raglift.evaluation.metrics._base import AnswerMetric
from raglift.evaluation.reasons import ANSWERABLE
from raglift.evaluation.scale import Scale
from raglift.records import QAPair


class WronglyAnswered(AnswerMetric):
    """1 if the arm answered an unanswerable question, 0 if it refused. Less is better.

    The share of answers that were made up; answerable questions lie outside.
    """

    name = "wrongly_answered"
    scale = Scale(better="lower")

    def outside(self, question: QAPair) -> str:
        return ANSWERABLE if question.answerable else ""

    def value(self, question: QAPair, answer: str) -> float:
        return float(not abstains(answer))


PLUGIN = WronglyAnswered()
