"""The words that an answer shares with a reference."""

from __future__ import annotations

from raglift.evaluation.metrics._rouge import Rouge


class Rouge1(Rouge):
    """ROUGE-1: words that both have, in any order (Lin 2004, section 2).

    As `token_f1`, but articles count, and words are runs of letters and digits.
    """

    name = "rouge_1"
    kind = "rouge1"


PLUGIN = Rouge1()
