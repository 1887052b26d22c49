"""Questions that only make sense beside their passage."""

from __future__ import annotations

import re

from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.words import words

_POINTING = re.compile(
    r"\b(this|the|that|given|following|above) (passage|text|section|paragraph|excerpt|document|sentence|statement|"
    r"example|article|author|writer|speaker|following|name of the (person|company|author|book))\b|\babove\b|"
    r"\bmentioned\b|\baccording to\b|\b(the|which) (latter|former)\b|\bof the following\b|"
    r"\b(in the|this|that|given|following|above) code\b",
    re.IGNORECASE,
)

_VERB = r"(do|does|did|is|are|was|were|can|could|should|will|would|has|have|had|must|may|might)"
_PRONOUN = r"(it|they|he|she|this|that|these|those|its|their|his|her)"
_EXPLETIVE = (
    r"(?! (raining|snowing|called when|possible|necessary|required|allowed|important|better|best|safe|true|that|worth|"
    r"good|hard|easy|take|mean (when|to|that|if)))"
)
_PRONOUN_FIRST = re.compile(
    rf"^(and |but |so )?((what|how|why|when|where|who|which)\b( \w+)? )?{_VERB} (not )?{_PRONOUN}\b{_EXPLETIVE}",
    re.IGNORECASE,
)
_DEMONSTRATIVE = re.compile(
    r"\b(this|these)\b(?! (morning|evening|week|month|year|century|day)s?\b)|"
    r"\b(do|avoid|fix|prevent|use|change|happen|mean|solve|get|handle|for|of|with|in) (that|those)\?$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]*\"|`[^`]*`|\u201c[^\u201d]*\u201d")

_FRAME = frozenset(
    words(
        "a an the what which who whom whose when where why how do does did is are was were be been being can "
        "could should will would has have had must may i you we one of in on at to for from by with as and or "
        "that it its if not only get gets got make makes made use used uses using call called calls happen "
        "happens happened become"
    )
)
_GENERIC = frozenset(
    words(
        "name names type types kind value values result results purpose default behavior behaviour format form "
        "difference length number amount maximum minimum order status state role effect cause reason way meaning "
        "function method object class item items element elements list code program expression statement "
        "operation process system feature option file data person people man woman company group event place book "
        "film thing things variable argument arguments parameter parameters new first last second next current "
        "main other same following created returned defined evaluated executed passed assigned"
    )
)
_DEFINITE = re.compile(
    r"\bthe (\w+)(?= (that|which|who|is|are|was|were|be|get|gets|do|does|to|for|in|when)\b|\W*$)", re.I
)


def _unknown_pronoun(question: str) -> bool:
    """A pronoun before anything that it could stand for, or "this" and "these" outside of quotes."""
    said = _QUOTED.sub("\u2026", question)
    return bool(_PRONOUN_FIRST.search(said) or _DEMONSTRATIVE.search(said))


def _unknown_thing(question: str) -> bool:
    """ "the function", "the result" and the like, and no word that would say which."""
    if _QUOTED.search(question) or re.search(r"[^\w\s?,.'-]", question):
        return False
    told = [word for word in words(question) if word not in _FRAME and word not in _GENERIC]
    return not told and any(found.group(1).lower() in _GENERIC for found in _DEFINITE.finditer(question))


class RefersToPassage:
    """Drops questions that only somebody who sees the passage understands.

    The rules are for English; in other languages they find nothing.
    """

    name = "refers_to_passage"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """It says "the text", "the example" and the like, where the passage itself does not; or it says "it", "this"
        or "the function" of something that it never names."""
        found = _POINTING.search(candidate.question)
        if found and found.group().lower() not in candidate.text.lower():
            return "points at its passage"
        if _unknown_pronoun(candidate.question):
            return "unclear without its passage"
        unclear = candidate.kind.question and _unknown_thing(candidate.question)
        return "unclear without its passage" if unclear else None


PLUGIN = RefersToPassage()
