"""The opposite, by a "not" too many or too few."""

from __future__ import annotations

import random
import re
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere

_VERBS = "is|are|was|were|can|could|will|would|should|must|may|might|has|have|had|does|do|did"
_VERB = re.compile(rf"\b({_VERBS})\b(?! not\b|n?['\u2019]t)")
_NEGATED = re.compile(rf"\b({_VERBS})(?: not\b|n['\u2019]t\b)")
_SHORT = {"cannot": "can", "can't": "can", "won't": "will", "shan't": "shall"}
"""Negations of which taking "not" away leaves no verb."""


class Negation(Corruption):
    """The first verb that can be negated is, or one that is negated no more."""

    about: ClassVar[str] = "it says the opposite"
    version: ClassVar[int] = 2

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        if "not only" in claim.lower():  # says no to nothing
            return None
        plain = claim.replace("\u2019", "'")
        for word, verb in _SHORT.items():
            if word in plain:
                return plain.replace(word, verb, 1)
        if _NEGATED.search(claim):
            return _NEGATED.sub(r"\1", claim, count=1)
        if " no " in claim:
            return claim.replace(" no ", " a ", 1)
        return _VERB.sub(r"\1 not", claim, count=1) if _VERB.search(claim) else None


PLUGIN = Negation()
