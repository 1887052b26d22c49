"""How an answer says that the documents do not answer the question."""

from __future__ import annotations

import re

ABSTAIN = "The documents do not say."
"""What the prompts ask for where the documents do not answer the question."""

_ADVERB = r"(?:(?:\w+ly|actually|seem to|appear to|yet|anywhere) )?"
_NOUN = (
    r"(?:contexts?|documents?|passages?|excerpts?|snippets?|texts?|sources?|articles?|information|materials?|content"
    r"|paragraphs?|data|reports?|documentation|filings?|references?|pages?)"
)
_QUALIFIER = r"(?:provided|given|supplied|retrieved|available|above|relevant)"
_DETERMINER = r"(?:the|this|that|these|those|any|any of the|your|my)"
_SOURCE = rf"{_DETERMINER} (?:{_QUALIFIER} )?(?:[\w-]+ ){{0,2}}{_NOUN}(?: (?:{_QUALIFIER}|i have|i was given))?"
# Nouns that mean the retrieved text and nothing else: "the context does not contain X" is a refusal whatever X is,
# while "the document does not contain a signature" may be the answer.
_RETRIEVED = (
    rf"(?:{_DETERMINER} (?:{_QUALIFIER} )?(?:contexts?|passages?|excerpts?|snippets?|documents)"
    rf"|{_DETERMINER} {_QUALIFIER} {_NOUN})(?: {_QUALIFIER})?"
)
_NOT = rf"(?:do|does|did) not {_ADVERB}"
_SAY = r"(?:say|state|mention|specify|indicate|tell|answer|address|disclose|reveal|discuss)"
_HOLD = r"(?:provide|contain|include|give|have|offer|describe|explain|list|cover|report|identify|define)"
_FACTS = r"(?:information|details?|answers?|mention|explanation|clues?)"
_INABLE = r"(?:answer|find|determine|provide|say|tell|locate|give|identify|confirm|help|assist|see any|be certain)"
_SAID = r"(?:mentioned|stated|specified|disclosed|discussed|addressed|indicated|answered)"
_HELD = rf"(?:{_SAID}|provided|given|included|contained|found|available|listed|described|known|defined|reported)"
_INFERRED = r"(?:answered|determined|inferred|established|confirmed|deduced)"
_BE = r"(?:is|are|was|were)"
_THIS = r"(?:it|this|that)"
_ASKED = r"(?:(?:the|this|that|your) (?:\w+ )?(?:answer|question|information|details?))"

_OPENER = (
    r"(?:(?:(?:i am )?(?:(?:very|so) )?sorry|(?:i )?apologi[sz]e|apologies|i am afraid(?: that)?|unfortunately"
    rf"|regrettably|however|answer|but|(?:based on|according to|from|given|in) {_SOURCE}) )*"
)
_CANNOT = r"(?:cannot|can not|could not|(?:am|are|was|were) (?:not able|unable) to|unable to)"
_GIVES_NO = r"(?:contains?|provides?|has|have|gives?|includes?|offers?|makes?) no"
_ABOUT = r"(?:about|on|of|regarding|in|for|to|concerning|as to|provided|given|available|that|which|here)"

_OPENING = (
    # The subject is the text, or the one who answers.
    rf"{_SOURCE} {_NOT}{_SAY}\b",
    rf"{_RETRIEVED} {_NOT}{_HOLD}\b",
    rf"(?:{_SOURCE}|{_THIS}|they) {_NOT}{_HOLD} (?:\w+ ){{0,3}}{_FACTS}\b",
    rf"(?:(?:{_THIS}|they) )?{_NOT}{_SAY}(?: that| this| it)?$",
    rf"{_NOT}{_HOLD}$",
    rf"(?:none|neither) of {_SOURCE} (?:{_SAY}|{_HOLD})s?\b",
    rf"(?:(?:i|we) )?{_CANNOT} {_ADVERB}{_INABLE}\b",
    rf"(?:(?:i|we) )?(?:do|did) not (?:know|have (?:any|enough|sufficient|access|the (?:\w+ )?{_FACTS}))\b",
    r"(?:i am|we are) not (?:sure|certain|aware)\b",
    # The subject is what was asked for.
    rf"{_ASKED} (?:{_BE} not {_ADVERB}{_HELD}|{_BE} un(?:known|available|answerable))\b",
    rf"(?:{_THIS}|{_ASKED}) cannot be {_INFERRED}\b",
    rf"{_THIS} {_BE} not {_ADVERB}{_SAID}\b",
    rf"not {_ADVERB}{_HELD}(?: (?:in|by|within|from) {_SOURCE})?$",
    r"it is (?:not possible|impossible) to (?:determine|say|answer)\b",
    # There is nothing.
    rf"(?:there {_BE}|(?:i|we) (?:can )?(?:have|see|found|find)) no (?:\w+ )?{_FACTS}(?= {_ABOUT}\b|$)",
    rf"{_SOURCE} {_GIVES_NO} (?:\w+ )?{_FACTS}(?= {_ABOUT}\b|$)",
    rf"no (?:\w+ )?{_FACTS}(?: (?:{_BE} )?{_HELD}\b|$)",
    rf"no (?:\w+ )?{_FACTS} (?:about|on|regarding|concerning|in) (?!.*\b{_BE}\b(?! {_HELD}\b))",
    rf"(?:there {_BE} |(?:i|we) have )?(?:not enough|insufficient) (?:\w+ )?(?:context|data|evidence|{_FACTS})\b",
    r"(?:i have )?no (?:idea|clue)$",
    r"(?:unknown|unanswerable|n/a|not applicable|no answer)$",
)
_ANYWHERE = (
    rf"\b{_BE} not {_ADVERB}{_HELD} {_ADVERB}(?:in|by|within|from) {_SOURCE}\b",
    rf"\b{_CANNOT} be (?:{_INFERRED}|found) {_ADVERB}(?:in|by|using|with|from|based on|given) {_SOURCE}\b",
    r"\bcannot be answered\b",
)
_REFUSAL = re.compile(f"^{_OPENER}(?:{'|'.join(_OPENING)})|{'|'.join(_ANYWHERE)}")

_APOLOGY = re.compile(r"^(?:(?:i am )?(?:(?:very|so) )?sorry|i apologi[sz]e|apologies|unfortunately|answer|a)$")
_EXPANSIONS = (
    (re.compile("[\u2018\u2019\u02bc`]"), "'"),
    (re.compile(r"\b(?:can't|cant)\b"), "cannot"),
    (re.compile(r"\b(do|does|did|could|is|are|was|were|have|has)(?:n't|nt)\b"), r"\1 not"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\b(there|it|that)'s\b"), r"\1 is"),
    (re.compile(r"\bwe're\b"), "we are"),
    (re.compile(r"\b(mr|mrs|ms|dr|prof|inc|corp|ltd)\."), r"\1"),
)


def abstains(answer: str) -> bool:
    """Whether an answer refuses: it is empty, `ABSTAIN`, or opens with a usual English refusal.

    Case, punctuation, contractions and a leading apology do not matter. Only the first sentence after an apology is
    judged: a caveat that follows an answer is no refusal, and a guess that follows a refusal does not undo it. A bare
    "no" is an answer. Other languages are recognised only through `ABSTAIN` itself.
    """
    text = answer.lower()
    for pattern, replacement in _EXPANSIONS:
        text = pattern.sub(replacement, text)
    sentences = [_words(part) for part in re.split(r"[.!?:](?=\W|$)|\n", text)]
    spoken = [sentence for sentence in sentences if sentence and not _APOLOGY.match(sentence)]
    if not spoken:
        return True
    return _REFUSAL.search(spoken[0]) is not None


def _words(sentence: str) -> str:
    """The sentence's words with one space between them."""
    return " ".join(re.findall(r"[^\W_]+(?:['/-][^\W_]+)*", sentence))
