"""How much of its wording the question shares with its evidence."""

from __future__ import annotations

import re

from raglift.evaluation.slices._base import Dimension, Facts, thirds

_WORD = re.compile(r"\w+")


class Wording(Dimension):
    """Thirds of the questions by the share of their different words that stand in their evidence, in whole percent.

    A question in words of its own is the harder one to find a passage for, whatever the model: a measure of
    difficulty that knows of no arm at all. Words are compared as they stand, in lower case; in scripts without
    spaces they say little. Questions about whole documents, and those without evidence, are slices of their own.
    """

    name = "wording"
    about = "question's words that its evidence has"

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        shares = {}
        for question in facts.questions:
            text, own = facts.evidence_text(question), set(_WORD.findall(question.question.lower()))
            if text is not None:
                shared = own & set(_WORD.findall(text.lower()))
                shares[question.id] = round(100 * len(shared) / len(own)) if own else 0
        others = {question.id: facts.without_text(question) for question in facts.questions}
        return others | thirds(shares, "%")


PLUGIN = Wording()
