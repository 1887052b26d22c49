"""Sentences in other words that say the same, by rules for English: what a checker must not take for false.

An answer seldom repeats its passage to the letter. A checker that only ever saw sentences that do learns that every
changed word is a lie.
"""

from __future__ import annotations

import random
import re

_ASIDE = re.compile(r"\s*\([^()]*\)|, (?:which|who|where|although|because|while|since)\b[^,.;]*(?=[,.;])")
_OPENING = re.compile(
    r"(?P<when>(?:In|On|At|During|After|Before|By|Since|Under|From|Until|Throughout|Within|Despite)\b[^,.;]{2,50}), "
    r"(?P<rest>[^.;]+)\."
)
_SYNONYMS = (
    "began started, begin start, often frequently, primarily mainly, mainly chiefly, however though, as since, "
    "such_as like, approximately about, nearly almost, many numerous, entire whole, large big, rapidly quickly, "
    "additionally furthermore, obtain get, obtained got, assist help, purchase buy, purchased bought, require need, "
    "requires needs, required needed, provide give, provides gives, provided gave, utilize use, utilized used, "
    "located situated, famous well-known, important significant, difficult hard, area region, "
    "also likewise, several various, generally usually, typically usually, currently at_present, "
    "receive get, received got, attempt try, ensure make_sure, complete finish, completed finished, shows indicates, "
    "collect gather, collected gathered, while whereas, "
    "due_to because_of, in_order_to to, believed thought, created made, major main, allow let, "
    "demonstrate show, select choose, selected chosen, further additional, prior_to ahead_of, regarding about, "
    "upon on, annual yearly, employees staff"
)
_PAIRS: list[tuple[str, str]] = [
    (one.replace("_", " "), other.replace("_", " ")) for one, other in (pair.split() for pair in _SYNONYMS.split(", "))
]
_OTHER = {one: other for pair in reversed(_PAIRS) for one, other in (pair, pair[::-1])}
_WORD = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _OTHER), key=len, reverse=True))})\b")


def reworded(sentence: str, chance: random.Random) -> str:
    """The sentence without an aside, with its opening at its end, or with one or two words for others, as chance has
    it; as it is where nothing of this can be done."""
    ways = [_shortened, _turned, _renamed]
    chance.shuffle(ways)
    for way in ways:
        found = way(sentence, chance)
        if found != sentence:
            return found
    return sentence


def _shortened(sentence: str, chance: random.Random) -> str:
    return _ASIDE.sub("", sentence)


def _turned(sentence: str, chance: random.Random) -> str:
    match = _OPENING.fullmatch(sentence)
    if match is None:
        return sentence
    when, rest = match["when"], match["rest"]
    return f"{rest[0].upper()}{rest[1:]} {when[0].lower()}{when[1:]}."


def _renamed(sentence: str, chance: random.Random) -> str:
    found = list(_WORD.finditer(sentence))
    for match in sorted(chance.sample(found, min(2, len(found))), key=lambda each: -each.start()):
        sentence = sentence[: match.start()] + _OTHER[match[0]] + sentence[match.end() :]
    return sentence
