"""The longest common subsequence of an answer and a reference."""

from __future__ import annotations

from raglift.evaluation.metrics._rouge import Rouge


class RougeL(Rouge):
    """ROUGE-L: words that both have in the same order, gaps allowed (Lin 2004, section 3)."""

    name = "rouge_l"
    kind = "rougeL"


PLUGIN = RougeL()
