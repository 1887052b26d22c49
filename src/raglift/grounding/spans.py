"""The parts of a sentence that carry its facts: numbers, names, and whether it is negated."""

from __future__ import annotations

import re

from raglift.synthesis.vocabulary import content_words

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
_NAME = re.compile(r"\b[A-Z][\w'\u2019-]*(?: (?:(?:of|the|and|de|von) )?[A-Z][\w'\u2019-]*)*")
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|cannot|without|\w+n['\u2019]t)\b", re.IGNORECASE)

Span = tuple[int, int]
"""First character, and the one after the last."""


def numbers(text: str) -> list[Span]:
    """Where numbers stand, with their separators and without signs and units; digits within a word are none."""
    return [match.span() for match in _NUMBER.finditer(text)]


def names(text: str) -> list[Span]:
    """Where runs of capitalised words stand.

    The first word of a text is written large whatever it is: it counts as part of a name where it is no function word
    and another such word follows, or where nothing else does, as in a short answer.
    """
    found = []
    for match in _NAME.finditer(text):
        start, end = match.span()
        if not text[:start].strip(" \"'(\u201c\u2018"):
            first, _, rest = match[0].partition(" ")
            if not content_words(first):
                start = end - len(rest)
            alone = not rest and bool(content_words(first)) and not text[end:].strip(" .\"')")
            if not (alone or rest[:1].isupper()):
                continue
        found.append((start, end))
    return found


def plain_number(text: str) -> str:
    """A number as one would compare it: without thousands separators, trailing zeros and points."""
    digits = re.sub(r",(?=\d{3}\b)", "", text).replace(",", ".")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits.lstrip("0") or "0"


def negations(text: str) -> int:
    """How often a text says no."""
    return len(_NEGATION.findall(text))


def replaced(text: str, span: Span, by: str) -> str:
    """The text with another span in its place."""
    return text[: span[0]] + by + text[span[1] :]


def swapped(text: str, first: Span, second: Span) -> str:
    """The text with two spans, the first before the second, in each other's place."""
    return (
        text[: first[0]]
        + text[second[0] : second[1]]
        + text[first[1] : second[0]]
        + text[first[0] : first[1]]
        + text[second[1] :]
    )
