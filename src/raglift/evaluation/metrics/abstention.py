"""Whether an arm answers what the documents answer, and refuses the rest."""

from __future__ import annotations

from raglift.abstention import abstains
from raglift.evaluation.metrics._base import AnswerMetric
from raglift.records import QAPair


class Abstention(AnswerMetric):
    """1 if the arm refused an unanswerable question or answered an answerable one, else 0.

    Applies to every question, with or without references; whether an answer is right is for the other metrics.
    `wrongly_refused` and `wrongly_answered` are its two errors apart.
    """

    name = "abstention"

    def value(self, question: QAPair, answer: str) -> float:
        return float(abstains(answer) != question.answerable)


PLUGIN = Abstention()
