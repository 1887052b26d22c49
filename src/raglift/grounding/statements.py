"""Answers as something that can be true or false."""

from __future__ import annotations

import re

_SHORT = 40
"""Characters from which on an answer may be a sentence of its own."""
_VERB = r"(?:is|are|was|were)"
_PHRASE = r"(?:the|a|an|one of|his|her|its|their|known|found|made|built|held|born|\w+ed)\b"
_AUXILIARY = r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|else)\b"
_SUBJECT = re.compile(rf"(?:(?:Who|What) (?={_VERB} {_PHRASE})|Who (?!{_AUXILIARY})(?=[a-z]))([^?]*)\?")
"""Questions in which the answer can stand where "who" or "what" does; English."""
_OPEN_END = re.compile(
    r"(?:\w+ing|called|named|as|of|for|by|with|to|from|in|on|at|into|like|about|against|under|during)$"
)


def statement(question: str, answer: str) -> str:
    """An answer as something that can be true or false: a short one says little without its question."""
    answer = " ".join(answer.split())
    return answer if len(answer) >= _SHORT and answer[:1].isupper() else f"{question.strip()} {answer}"


def parted(claim: str) -> tuple[str, str]:
    """The question and the answer of which `statement` made a claim; no question, where there is none in it."""
    question, mark, answer = claim.rpartition("? ")
    return (f"{question}?", answer) if mark else ("", claim)


def restated(claim: str) -> str | None:
    """A question with its answer as one sentence, where the answer can be put in the place of "who" or "what"."""
    question, answer = parted(claim)
    match = _SUBJECT.fullmatch(question)
    if match is None or _OPEN_END.search(match[1].strip()):
        return None
    return f"{answer[:1].upper()}{answer[1:].rstrip(' .')} {match[1].strip()}."
