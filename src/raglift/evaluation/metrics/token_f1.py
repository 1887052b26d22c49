"""How many words an answer shares with a reference, as SQuAD counts it."""

from __future__ import annotations

from collections import Counter

from raglift.evaluation.metrics._base import ReferenceMetric
from raglift.evaluation.metrics.exact_match import normalize_answer


class TokenF1(ReferenceMetric):
    """SQuAD's F1: the harmonic mean of precision and recall over the multisets of normalised words.

    Words are what white space separates, as in the official script, version 1.1 (Rajpurkar et al. 2016); in a
    language written without spaces a phrase is one word, and `rouge_l` tells more.
    """

    name = "token_f1"

    def compare(self, answer: str, reference: str) -> float:
        predicted = normalize_answer(answer).split()
        expected = normalize_answer(reference).split()
        shared = (Counter(predicted) & Counter(expected)).total()
        if shared == 0:
            return 0.0
        precision, recall = shared / len(predicted), shared / len(expected)
        return 2 * precision * recall / (precision + recall)


PLUGIN = TokenF1()
