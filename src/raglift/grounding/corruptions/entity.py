"""Another name."""

from __future__ import annotations

import random
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere
from raglift.grounding.spans import names, replaced


class Entity(Corruption):
    """One name becomes another: half of the time one that stands elsewhere in the passage, where there is one, else one
    of another document."""

    about: ClassVar[str] = "one name is another"
    borrows: ClassVar[bool] = True
    version: ClassVar[int] = 2

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        spans = names(claim)
        if not spans:
            return None
        span = chance.choice(spans)
        near = sorted({passage[slice(*each)] for each in names(passage)})
        near = [name for name in near if not _alike(name, claim)]
        far = [name for name in elsewhere.names if not _alike(name, claim) and name not in passage]
        for others in (near, far) if chance.random() < 0.5 else (far, near):
            if others:
                return replaced(claim, span, chance.choice(others))
        return None


def _alike(name: str, claim: str) -> bool:
    """Whether the claim speaks of it already, by a part of the name too."""
    return any(word in claim for word in name.split() if word[:1].isupper())


PLUGIN = Entity()
