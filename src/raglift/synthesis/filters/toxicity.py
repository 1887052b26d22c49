"""Words that no question should hold."""

from __future__ import annotations

from collections.abc import Iterable

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words

WORDS = (
    "cunt",
    "cunts",
    "faggot",
    "faggots",
    "kike",
    "kikes",
    "kill yourself",
    "motherfucker",
    "motherfuckers",
    "nigger",
    "niggers",
    "tranny",
    "trannies",
    "wetback",
    "wetbacks",
)
"""English slurs without another meaning. Words that are also names, places or terms of a trade are left out: a filter
that drops "retard" drops questions about engines."""


class Toxicity:
    """Drops questions and answers that hold one of a few words.

    It finds words, not meanings: hate without slurs passes, and a text about a slur is dropped.

    Args:
        listed: Words or phrases in any language, matched as whole words without regard to case.
    """

    name = "toxicity"

    def __init__(self, listed: Iterable[str] = WORDS) -> None:
        self._listed = frozenset(" ".join(words(entry)) for entry in listed) - {""}
        self._longest = max((entry.count(" ") + 1 for entry in self._listed), default=0)

    def with_words(self, more: Iterable[str]) -> Toxicity:
        """A filter that knows further words too."""
        return Toxicity([*self._listed, *more])

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """A listed word or phrase stands in the question or in the answer."""
        found = self._holds(words(candidate.question)) or self._holds(words(candidate.answer))
        return "holds a blocked word" if found else None

    def _holds(self, text: list[str]) -> bool:
        sizes = range(1, self._longest + 1)
        return any(" ".join(text[at : at + size]) in self._listed for size in sizes for at in range(len(text)))


PLUGIN = Toxicity()
