"""What the ROUGE metrics share: the scorer of the rouge_score package over words of any script."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from rouge_score.rouge_scorer import RougeScorer

from raglift.evaluation.metrics._base import ReferenceMetric

# Kana, Han, Thai, Lao, Tibetan, Burmese and Khmer are written without spaces: every character is a token.
_UNSPACED = re.compile(
    "([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])"
)


class UnicodeTokenizer:
    """Lower-cased runs of letters, marks and digits of any script.

    rouge_score's own tokenizer deletes all but a-z and 0-9, which leaves nothing of most languages. On ASCII text
    the two agree.
    """

    def tokenize(self, text: str) -> list[str]:
        """The tokens, in order. Composed and decomposed spellings give the same ones."""
        lowered = unicodedata.normalize("NFC", text.lower())
        kept = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in lowered)
        return _UNSPACED.sub(r" \1 ", kept).split()


class Rouge(ReferenceMetric):
    """One kind of ROUGE without stemming (Lin 2004), its F-measure, by the rouge_score package.

    Attributes:
        kind: rouge_score's name of it: "rouge1", "rouge2" or "rougeL".
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        self._scorer = RougeScorer([self.kind], use_stemmer=False, tokenizer=UnicodeTokenizer())

    def compare(self, answer: str, reference: str) -> float:
        return float(self._scorer.score(reference, answer)[self.kind].fmeasure)
