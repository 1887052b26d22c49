"""The opposite, by another word."""

from __future__ import annotations

import random
import re
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere

_PAIRS = (
    "increase decrease, increased decreased, increases decreases, more less, more fewer, higher lower, high low, "
    "before after, first last, above below, maximum minimum, always never, all none, greater smaller, "
    "largest smallest, "
    "large small, early late, earlier later, inside outside, include exclude, includes excludes, "
    "allowed forbidden, required optional, true false, north south, east west, up down, "
    "begin end, begins ends, began ended, open closed, accept reject, accepts rejects, gain lose, gained lost, "
    "profit loss, positive negative, major minor, strong weak, fast slow, public private, "
    "same different, start stop, starts stops, rise fall, rose fell, rises falls, won lost, most least, former latter, "
    "mutable immutable, direct indirect, internal external, local global, success failure"
)
_OPPOSITE: dict[str, str] = {}
for _pair in _PAIRS.split(", "):
    _one, _other = _pair.split()
    _OPPOSITE.setdefault(_one, _other)
    _OPPOSITE.setdefault(_other, _one)
_WORD = re.compile(rf"\b({'|'.join(sorted(_OPPOSITE, key=len, reverse=True))})\b")


class Antonym(Corruption):
    """One word becomes its opposite, from a list of English ones."""

    about: ClassVar[str] = "one word is its opposite"

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        found = list(_WORD.finditer(claim))
        if not found:
            return None
        match = chance.choice(found)
        return claim[: match.start()] + _OPPOSITE[match[0]] + claim[match.end() :]


PLUGIN = Antonym()
