"""The runs of up to six characters that an answer shares with a reference."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.chrf import CHRF

from raglift.evaluation.metrics._sacrebleu import SentenceMetric


class Chrf(SentenceMetric):
    """chrF of one sentence (Popović 2015), equal to `sacrebleu.sentence_chrf`: chrF2, without words.

    Runs of characters need no words, so that another ending of a word costs little, and languages that are written
    without spaces are scored as others. Recall weighs twice as much as precision; white space does not count.
    """

    name = "chrf"

    def __init__(self) -> None:
        self._chrf = CHRF()

    def percent(self, answer: str, references: Sequence[str]) -> float:
        return float(self._chrf.sentence_score(answer, references).score)


PLUGIN = Chrf()
