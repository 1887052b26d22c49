"""What of a claim stands in a passage, word for word: quick, in need of no model, and blind to meaning."""

from __future__ import annotations

from dataclasses import dataclass

from raglift.grounding.passages import read
from raglift.grounding.spans import names, negations, numbers, plain_number
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.words import words


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a claim and a passage share.

    Attributes:
        covered: Share of the claim's content words, as stems, that the passage holds; 1 where there is none.
        near: The same of the sentence of the passage that holds most of them.
        numbers: Share of its numbers that the passage holds; 1 where there is none.
        names: Share of the words in its names that the passage holds; 1 where there is none.
        negation: Whether it says no as often, odd or even, as that sentence does.
        says: Whether there is a word, a number or a name in it to be looked for.
    """

    covered: float
    near: float
    numbers: float
    names: float
    negation: float
    says: bool = True

    @property
    def support(self) -> float:
        """0 where it says nothing, or a number, a name or the negation is another; else `near`."""
        exact = self.says and self.numbers == 1 and self.names == 1 and self.negation == 1
        return self.near if exact else 0.0


def overlap(claim: str, passage: str) -> Overlap:
    """What they share."""
    said = _stems(claim)
    held = read(passage)
    best, says_no = max(((len(said & each.content), each.denies) for each in held.sentences), key=lambda each: each[0])
    there = {plain_number(passage[slice(*span)]) for span in numbers(passage)}
    own = [plain_number(claim[slice(*span)]) for span in numbers(claim)]
    known = set(words(passage))
    named = [word for span in names(claim) for word in words(claim[slice(*span)])]
    return Overlap(
        _share(len(said & held.content), len(said)),
        _share(best, len(said)),
        _share(sum(number in there for number in own), len(own)),
        _share(sum(word in known for word in named), len(named)),
        float((negations(claim) % 2 == 1) == says_no),
        bool(said or own or named),
    )


def _stems(text: str) -> set[str]:
    """Of the words that say something; numbers are looked at by themselves."""
    return {stem for stem in content_stems(text) if not any(character.isdigit() for character in stem)}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
