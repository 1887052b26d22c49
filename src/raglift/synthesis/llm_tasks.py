"""What a language model is asked about a text, and what its replies in the journal have come to so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raglift.journal import Journal
from raglift.records import content_id
from raglift.synthesis.asking import Asking
from raglift.synthesis.budget import Usage
from raglift.synthesis.reply import answer_in

CUT = "replies cut off at their limit"
REFUSED = "prompts refused by the writer"
_NO_QUOTE = "answers that quote nothing of the text"


@dataclass(frozen=True, slots=True)
class Result:
    """What the journal holds about one text: what is still to be asked (`next_prompt`), and what came of it."""

    question: str = ""
    answer: str = ""
    next_prompt: str = ""
    refused: bool = False
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.next_prompt


def read_result(asking: Asking, kind_name: str, text: str, journal: Journal) -> Result:
    """What the journal holds about a text."""
    kind, style = asking.kinds[kind_name], asking.style
    prompt = style.message(kind, text)
    unit = unit_of(prompt)
    if unit not in journal:
        return Result(next_prompt=prompt)
    if "refused" in journal[unit]:
        return Result(refused=True, notes=(REFUSED,))
    question = style.read_reply(kind, journal[unit]["text"])
    notes = (CUT,) if journal[unit]["cut"] else ()
    if not kind.answer_words or not question or (kind.question and not question.endswith("?")):  # it will be dropped
        return Result(question, notes=notes)
    prompt = style.answer_message(kind, text, question)
    unit = unit_of(prompt)
    if unit not in journal:
        return Result(question, next_prompt=prompt)
    if "refused" in journal[unit]:
        return Result(question, notes=(*notes, REFUSED))
    if journal[unit]["cut"]:
        return Result(question, notes=(*notes, CUT))
    answer = answer_in(kind, journal[unit]["text"], text)
    return Result(question, answer, notes=notes if answer else (*notes, _NO_QUOTE))


def unit_of(prompt: str) -> str:
    """The journal's name for the reply to a prompt."""
    return f"reply to {content_id(prompt)}"


def doubt_of(prompt: str) -> str:
    """The journal's name for a refusal that stopped a run, and may not have been the prompt's fault."""
    return f"doubt about {content_id(prompt)}"


def lost_units(journal: Journal) -> Iterator[str]:
    """The units of the attempts that timed out or were cancelled, which the server may have billed."""
    number = 0
    while (unit := f"timed out {number}") in journal:
        yield unit
        number += 1


def spent_so_far(journal: Journal) -> Usage:
    """Tokens of all attempts so far, whatever they were for."""
    entries = journal.values()
    return Usage(sum(entry.get("in", 0) for entry in entries), sum(entry.get("out", 0) for entry in entries))
