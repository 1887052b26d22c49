"""Which words say what a text is about, and which of them a corpus holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property

import Stemmer

from raglift.synthesis.words import words

_PLAIN = frozenset(
    words(
        "a about above after again against all also although always am among an and another any anybody anyone "
        "anything are as ask at away be became because become been before being below between both but by can cannot "
        "come could did different do does doing done down during each either else enough even ever every everybody "
        "everyone everything few for from further gave get gets give given go goes got had has have having he her here "
        "hers him his how however i if in instead into is it its itself just kind kinds know known later least less "
        "like likely long look made main make makes many may me might mine more most much must my name named names "
        "near need needs neither never new no nobody none nor not nothing now number of off often on once one only or "
        "other others ought our out over own people per perhaps person place possible put rather reason same say says "
        "see seem several shall she should since so some somebody someone something sometimes soon sort still such "
        "take taken takes tell text than that the their them themselves then there these they thing things this those "
        "though through thus to together too two type under until up upon us use used uses using usually very was way "
        "we well were what whatever when whenever where whether which while who whole whom whose why will with within "
        "without would year yes yet you your happen happens happened call called cause caused mean means meant find "
        "found day time times first last"
    )
)


@cache
def stem(word: str) -> str:
    return str(Stemmer.Stemmer("english").stemWord(word))


def content_words(text: str) -> list[str]:
    """The words that say something, in lower case and in order: without English function words and what any question
    says, and without plain words of one or two letters."""
    return [
        word for word in words(text) if word not in _PLAIN and (len(word) > 2 or not word.isascii() or _digits(word))
    ]


def content_stems(text: str) -> set[str]:
    """The stems of the words that say something, by which two inflections of a word are one."""
    return {stem(word) for word in content_words(text)}


def _digits(word: str) -> bool:
    return any(character.isdigit() for character in word)


class Vocabulary:
    """The words of a corpus, looked up by their stems.

    Args:
        texts: Gives every document's text; called when the first word is looked up.
    """

    def __init__(self, texts: Callable[[], Iterable[str]]) -> None:
        self._texts = texts

    @cached_property
    def _stems(self) -> set[str]:
        return {stem(word) for text in self._texts() for word in set(words(text))}

    def knows(self, word: str) -> bool:
        """Whether a document holds the word, in whatever inflection."""
        return stem(word.lower()) in self._stems
