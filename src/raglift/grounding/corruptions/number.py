"""Another number."""

from __future__ import annotations

import random
from typing import ClassVar

from raglift.grounding.corruptions._base import Corruption, Elsewhere
from raglift.grounding.spans import numbers, plain_number, replaced


class Number(Corruption):
    """One number becomes another: half of the time one that stands elsewhere in the passage, where there is one, else
    one with a digit changed."""

    about: ClassVar[str] = "one number is another"
    borrows: ClassVar[bool] = True

    def corrupt(self, claim: str, passage: str, elsewhere: Elsewhere, chance: random.Random) -> str | None:
        """See `Corruption`."""
        spans = numbers(claim)
        if not spans:
            return None
        span = chance.choice(spans)
        old = claim[slice(*span)]
        own = {plain_number(claim[slice(*each)]) for each in spans}
        near = [passage[slice(*each)] for each in numbers(passage)]
        near = sorted({each for each in near if plain_number(each) not in own})
        new = chance.choice(near) if near and chance.random() < 0.5 else _changed(old, chance)
        return None if plain_number(new) in own else replaced(claim, span, new)


def _changed(number: str, chance: random.Random) -> str:
    place = chance.choice([at for at, character in enumerate(number) if character.isdigit()])
    digit = chance.choice([each for each in "123456789" if each != number[place]])
    return number[:place] + digit + number[place + 1 :]


PLUGIN = Number()
