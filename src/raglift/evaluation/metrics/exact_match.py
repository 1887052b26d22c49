"""Whether an answer equals a reference, after SQuAD's normalisation."""

from __future__ import annotations

import re
import string

from raglift.evaluation.metrics._base import ReferenceMetric

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, with single spaces.

    The `normalize_answer` of SQuAD's official evaluation script, version 1.1 (Rajpurkar et al. 2016).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


class ExactMatch(ReferenceMetric):
    """SQuAD's exact match: 1 if the normalised answer equals a normalised reference, else 0."""

    name = "exact_match"

    def compare(self, answer: str, reference: str) -> float:
        return float(normalize_answer(answer) == normalize_answer(reference))


PLUGIN = ExactMatch()
