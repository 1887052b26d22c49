"""A short answer beside its question and its passage: whether it stands where the question's words do, and is the kind
of thing that was asked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from raglift.grounding.passages import Passage, read, stems
from raglift.synthesis.vocabulary import content_stems

_ASKED = {
    "person": re.compile(r"\bwho(?:se|m)?\b", re.IGNORECASE),
    "time": re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|decade|century)\b", re.IGNORECASE),
    "amount": re.compile(
        r"\bhow (?:many|much|long|old|far|often|large|big|tall|high)\b|\bwhat (?:percent|number|amount)", re.IGNORECASE
    ),
    "place": re.compile(r"\bwhere\b", re.IGNORECASE),
    "reason": re.compile(r"\bwhy\b|\bhow (?:do|does|did|is|are|can)\b", re.IGNORECASE),
}
"""What a question asks for; English."""
_YEAR = re.compile(r"\b(?:1\d{3}|20\d\d)\b")
_AROUND, _FURTHER = 8, 15
"""Words on either side of an answer in which the question's are looked for."""
_LONG = 10


@dataclass(frozen=True, slots=True)
class Reply:
    """What a passage says of a short answer to a question; all within [0, 1].

    Attributes:
        stands: Whether the passage holds it word for word.
        asked_there: Share of the question's content words in the sentence that holds it; 0 where none does.
        asked_elsewhere: How much larger that share is in the best sentence of the passage.
        around: The same share of the words around it.
        around_elsewhere: How much larger it is around the best other place.
        further: As `around`, of more words.
        repeated: Share of its words that the question says already.
        long: How many words it has, of ten.
        figure, named: Whether it holds a digit, or begins like a name without one.
        person_figure, person_plain, time_no_figure, amount_no_figure, place_figure, place_plain, reason_figure,
        reason_named, other_figure, amount_year, time_year: Whether a question for the first got the second.
    """

    stands: float = 0.0
    asked_there: float = 0.0
    asked_elsewhere: float = 0.0
    around: float = 0.0
    around_elsewhere: float = 0.0
    further: float = 0.0
    repeated: float = 0.0
    long: float = 0.0
    figure: float = 0.0
    named: float = 0.0
    person_figure: float = 0.0
    person_plain: float = 0.0
    time_no_figure: float = 0.0
    amount_no_figure: float = 0.0
    place_figure: float = 0.0
    place_plain: float = 0.0
    reason_figure: float = 0.0
    reason_named: float = 0.0
    other_figure: float = 0.0
    amount_year: float = 0.0
    time_year: float = 0.0


def reply(question: str, answer: str, text: str) -> Reply:
    """The answer beside its question and a passage."""
    passage = read(text)
    asked, said = content_stems(question), stems(answer)
    places = list(_places(said, passage.words))
    there = max((_share(asked, passage.sentences[passage.sentence_of[at]].content) for at in places), default=0.0)
    around = max((_near(asked, passage, at, len(said), _AROUND) for at in places), default=0.0)
    best = max((_share(asked, passage.words[max(0, at - _AROUND) : at + _AROUND]) for at in _steps(passage)), default=0)
    return Reply(
        float(bool(places)),
        there,
        max(_share(asked, sentence.content) for sentence in passage.sentences) - there,
        around,
        max(0.0, best - around),
        max((_near(asked, passage, at, len(said), _FURTHER) for at in places), default=0.0),
        len(asked.intersection(said)) / max(1, len(set(said))),
        min(1.0, len(said) / _LONG),
        *_kinds(question, answer),
    )


def _kinds(question: str, answer: str) -> Iterator[float]:
    wants = {kind: bool(form.search(question)) for kind, form in _ASKED.items()}
    figure = any(character.isdigit() for character in answer)
    named = answer[:1].isupper() and not figure
    plain, year = not figure and not named, bool(_YEAR.search(answer))
    yield from (float(figure), float(named))
    for kind, got in (
        ("person", figure),
        ("person", plain),
        ("time", not figure),
        ("amount", not figure),
        ("place", figure),
        ("place", plain),
        ("reason", figure),
        ("reason", named),
    ):
        yield float(wants[kind] and got)
    yield float(figure and not any(wants.values()))
    yield from (float(wants["amount"] and year), float(wants["time"] and year))


def _places(said: Sequence[str], held: tuple[str, ...]) -> Iterator[int]:
    """Where the words stand in a row."""
    wanted = tuple(said)
    for at in range(len(held) - len(wanted) + 1) if wanted else ():
        if held[at : at + len(wanted)] == wanted:
            yield at


def _steps(passage: Passage) -> range:
    return range(0, len(passage.words), 2)


def _near(asked: Collection[str], passage: Passage, at: int, length: int, width: int) -> float:
    held = passage.words
    return _share(asked, (*held[max(0, at - width) : at], *held[at + length : at + length + width]))


def _share(asked: Collection[str], held: Collection[str]) -> float:
    return len(set(asked).intersection(held)) / max(1, len(asked))
