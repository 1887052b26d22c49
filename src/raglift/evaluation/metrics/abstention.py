"""Whether an arm answers what the documents answer, and refuses the rest."""

from __future__ import annotations

from collections.abc import Sequence

from raglift.abstention import abstains
from raglift.evaluation.metrics._base import Embed, ResponseMetric, Value
from raglift.evaluation.reasons import NO_ANSWER
from raglift.records import QAPair


class Abstention(ResponseMetric):
    """1 if the arm refused an unanswerable question or answered an answerable one, else 0.

    Applies to every question, with or without references; whether an answer is right is for the other metrics.
    """

    name = "abstention"

    def score(self, questions: Sequence[QAPair], answers: Sequence[str | None], embed: Embed) -> list[Value]:
        return [
            Value(None, NO_ANSWER) if answer is None else Value(float(abstains(answer) != question.answerable))
            for question, answer in zip(questions, answers, strict=True)
        ]


PLUGIN = Abstention()
