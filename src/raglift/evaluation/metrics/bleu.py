"""The runs of up to four words that an answer shares with the references."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU

from raglift.evaluation.metrics._sacrebleu import SentenceMetric


class Bleu(SentenceMetric):
    """BLEU of one sentence (Papineni et al. 2002), equal to `sacrebleu.sentence_bleu`.

    Tokens are sacrebleu's "13a", counts that are 0 are smoothed ("exp"), and of a short answer only those runs count
    that it is long enough for. It was made for whole corpora: the mean over sentences is no corpus BLEU.
    """

    name = "bleu"

    def __init__(self) -> None:
        self._bleu = BLEU(effective_order=True)

    def percent(self, answer: str, references: Sequence[str]) -> float:
        return float(self._bleu.sentence_score(answer, references).score)


PLUGIN = Bleu()
