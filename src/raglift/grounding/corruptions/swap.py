"""The right things in each other's place."""

from __future__ import annotations

import random
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere
from raglift.grounding.spans import names, numbers, swapped


class Swap(Corruption):
    """Two names or two numbers of the sentence change places."""

    about: ClassVar[str] = "two names or numbers have changed places"
    version: ClassVar[int] = 2

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        found = []
        for spans in (names(claim), numbers(claim)):
            for row, first in enumerate(spans):
                for second in spans[row + 1 :]:
                    between = claim[first[1] : second[0]].strip(" ,")
                    if claim[slice(*first)] != claim[slice(*second)] and between not in ("", "and", "or", "&"):
                        found.append(swapped(claim, first, second))
        return chance.choice(found) if found else None


PLUGIN = Swap()
