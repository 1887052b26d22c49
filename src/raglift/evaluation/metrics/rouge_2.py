"""The pairs of neighbouring words that an answer shares with a reference."""

from __future__ import annotations

from raglift.evaluation.metrics._rouge import Rouge


class Rouge2(Rouge):
    """ROUGE-2: neighbouring words that both have side by side (Lin 2004, section 2).

    A text of one word has no pair and scores 0, even against itself: the metric is one for whole sentences.
    """

    name = "rouge_2"
    kind = "rouge2"


PLUGIN = Rouge2()
