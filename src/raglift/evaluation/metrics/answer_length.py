"""How long an answer is."""

from __future__ import annotations

import math

from raglift.evaluation.metrics._base import AnswerMetric
from raglift.evaluation.scale import Scale
from raglift.records import QAPair


class AnswerLength(AnswerMetric):
    """Words of the answer, as white space separates them; 0 where it is blank.

    It describes an answer: neither longer nor shorter is better, so that it gets no verdict.
    """

    name = "answer_length"
    scale = Scale(0.0, math.inf, better=None)

    def value(self, question: QAPair, answer: str) -> float:
        return float(len(answer.split()))


PLUGIN = AnswerLength()
