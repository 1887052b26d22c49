"""Taking apart what a free writer replies, and finding its answer in the evidence to the letter."""

from __future__ import annotations

import re
from functools import cache

from raglift.synthesis.kinds._base import QuestionKind

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_LABEL = (
    r"(?:\*\*|__)?(?:question|answer|search|quote%s)(?:\s*\d+)?(?:\*\*|__)?\s*[:.)-](?:\*\*|__)?\s+"
    r"|\d+[.)]\s+|[-*\u2022]\s+"
)
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb\u201e*"
_ALIKE = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2010\u2011\u2012\u2013\u2014\u2212", '\'\'\'"""""------'
)


def question_in(kind: QuestionKind, reply: str) -> str:
    """What is asked, without label, quotes, reasoning and preamble; empty where nothing is left."""
    lines = [line for line in (_bare(line, kind.label) for line in _lines(reply)) if line]
    asking = [line for line in lines if "?" in line] if kind.question else []
    return kind.read_question((asking or lines or [""])[0])


def answer_in(kind: QuestionKind, reply: str, text: str) -> str:
    """The words of `text` that the reply quotes, as they stand there; empty where it quotes none.

    A quote longer than twice the kind's `answer_words` is none: it repeats the text instead of answering.
    """
    for line in _lines(reply):
        for said in (line, _bare(line)):  # "12. May" may be an answer, or the twelfth item of a list
            found = find_quote(kind.read_answer(said.strip(_QUOTES + ".,;: ")), text)
            if found and len(found.split()) <= 2 * kind.answer_words:
                return found
    return ""


def line_in(reply: str) -> str:
    """The first line that says something, without label, quotes, reasoning and preamble; empty where there is none."""
    return next((line for line in map(_bare, _lines(reply)) if line), "")


def spoken(reply: str) -> str:
    """The reply without the reasoning that some models put before it."""
    return _THOUGHT.sub("", reply)


def _lines(reply: str) -> list[str]:
    """The lines that say something; those that only announce what follows go last."""
    lines = [line.strip() for line in spoken(reply).splitlines()]
    return sorted((line for line in lines if line and not line.startswith("```")), key=lambda line: line.endswith(":"))


def _bare(line: str, own: str = "") -> str:
    """The line without labels (the kind's `own` among them), list marks, and quotes or emphasis around the whole."""
    label = _labels(own)
    before = None
    while before != line:
        before = line
        line = label.sub("", line + " ", count=1).strip() if label.match(line + " ") else line
        if len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES:
            line = line[1:-1].strip()
    return line


@cache
def _labels(own: str) -> re.Pattern[str]:
    return re.compile(_LABEL % (f"|{re.escape(own)}" if own else ""), re.IGNORECASE)


def find_quote(quote: str, text: str) -> str:
    """The characters of `text` that equal `quote` but for case, white space and the shapes of quotes and dashes.

    The run begins and ends at ends of words (in scripts with capitals, and so with spaces). Empty where there is none.
    """
    start = text.find(quote) if quote.strip() == quote != "" else -1
    if start >= 0 and not _inside_word(text, start) and not _inside_word(text, start + len(quote)):
        return quote  # the usual case needs no folding
    wanted = "".join(character for character, _ in _folded(quote)).strip()
    folded = _folded(text)
    plain = "".join(character for character, _ in folded)
    start = plain.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        # A character such as a ligature folds to several: a quote must not begin or end inside of it.
        whole = (start == 0 or folded[start - 1][1] != folded[start][1]) and (
            end == len(folded) or folded[end][1] != folded[end - 1][1]
        )
        if whole and not _inside_word(plain, start) and not _inside_word(plain, end):
            return text[folded[start][1] : folded[end - 1][1] + 1]
        start = plain.find(wanted, start + 1)
    return ""


def _folded(text: str) -> list[tuple[str, int]]:
    """The text's characters as they are compared, each with its place."""
    found: list[tuple[str, int]] = []
    for place, character in enumerate(text):
        if character.isspace():
            if not found or found[-1][0] != " ":
                found.append((" ", place))
            continue
        found += [(part, place) for part in character.translate(_ALIKE).casefold()]
    return found


def _inside_word(text: str, place: int) -> bool:
    if place in (0, len(text)):
        return False
    before, after = text[place - 1], text[place]
    return all(side.isdigit() or side.lower() != side.upper() for side in (before, after))
