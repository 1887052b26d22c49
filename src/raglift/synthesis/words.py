"""Words of a text, for comparisons that do not care about case and punctuation."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words, in order."""
    return _WORD.findall(text.lower())


def holds(text: str, quote: str) -> bool:
    """Whether a text holds a quote as whole words; one without a word, such as `<=`, character by character."""
    quoted = words(quote)
    if not quoted:
        return bool(quote.strip()) and quote.strip() in text
    return f" {' '.join(quoted)} " in f" {' '.join(words(text))} "


def longest_common_run(left: list[str], right: list[str]) -> int:
    """Length of the longest run of words that both lists hold."""
    best = 0
    before = [0] * (len(right) + 1)
    for word in left:
        row = [0] * (len(right) + 1)
        for position, other in enumerate(right, 1):
            if word == other:
                row[position] = before[position - 1] + 1
                best = max(best, row[position])
        before = row
    return best
