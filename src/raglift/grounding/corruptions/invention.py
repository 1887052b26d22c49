"""What only another document says."""

from __future__ import annotations

import random
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere


class Invention(Corruption):
    """A sentence of another document about the same things takes its place, one of the three nearest."""

    about: ClassVar[str] = "it is what another document says"
    whole: ClassVar[bool] = True
    borrows: ClassVar[bool] = True

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        others = [sentence for sentence in elsewhere.sentences if sentence not in passage and sentence != claim]
        return chance.choice(others[:3]) if others else None


PLUGIN = Invention()
