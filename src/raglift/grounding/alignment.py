"""A claim beside the sentence of its passage that is most like it, word for word: what was put in, left out, turned
round.

A claim whose words all stand somewhere in a passage may still say what it does not: two names in each other's place, a
number of the next sentence. Held against one sentence, in order, such changes show, of whatever kind they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from raglift.grounding.passages import Passage, Sentence, read, stems
from raglift.grounding.spans import names, negations, numbers, plain_number
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.words import words

_TIGHT = 4
"""Words that a replacement has at most on either side, to be one thing in the place of another."""
_MANY = 15
"""Content words from which on a claim is long."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a claim's nearest sentence says of it; all within [0, 1].

    Attributes:
        covered: Share of its content words that the sentence holds.
        covered_by_two: The same of the two sentences in a row that hold most.
        covered_by_all: The same of the passage.
        kept: Share of its words that stand in the sentence in the same order.
        replaced: Share that stands where the sentence has other words.
        added: Share that stands where the sentence has none.
        one_for_another: Whether a few words between kept ones are others.
        put_in: Number of places where something is added, of three.
        in_pairs: Share of its neighbouring words that are neighbours in the sentence too.
        foreign_number, number_elsewhere: Whether a number of it is not in the passage, or not in the sentence.
        foreign_name, name_elsewhere: The same of its names, word by word.
        denied: Whether it says no and the sentence does not, or the other way round.
        turned: Whether two words stand in another order.
        turns: Share of the neighbouring shared words that do.
        long: How many content words it has, of fifteen.
        contradicted: Whether a number or a name of it is foreign, or it is denied: what is learned of one kind of
            mistake holds for the others.
        misplaced: Whether a number or a name of it stands in another sentence alone, or something is turned.
    """

    covered: float
    covered_by_two: float
    covered_by_all: float
    kept: float
    replaced: float
    added: float
    one_for_another: float
    put_in: float
    in_pairs: float
    foreign_number: float
    number_elsewhere: float
    foreign_name: float
    name_elsewhere: float
    denied: float
    turned: float
    turns: float
    long: float
    contradicted: float
    misplaced: float


def align(claim: str, text: str) -> Alignment:
    """The claim beside the sentence of a passage that is most like it."""
    passage = read(text)
    sentence = passage.nearest(claim)
    said, own = content_stems(claim), stems(claim)
    turns = _turns(own, said, sentence)
    facts = _facts(claim, passage, sentence)
    denied = (negations(claim) % 2 == 1) != sentence.denies
    return Alignment(
        *_covered(said, passage, sentence),
        *_edits(own, sentence),
        _share(sum(pair in _neighbours(sentence.words) for pair in _neighbours(own)), len(own) - 1),
        *facts,
        denied=float(denied),
        turned=float(turns > 0),
        turns=turns,
        long=min(1.0, len(said) / _MANY),
        contradicted=float(denied or facts[0] > 0 or facts[2] > 0),
        misplaced=float(facts[1] > 0 or facts[3] > 0 or turns > 0),
    )


def _covered(said: Collection[str], passage: Passage, sentence: Sentence) -> tuple[float, float, float]:
    rows = [each.content for each in passage.sentences]
    pairs = [one | other for one, other in itertools.pairwise(rows)] or rows
    two = max(len(pair.intersection(said)) for pair in pairs)
    one, whole = (len(held.intersection(said)) for held in (sentence.content, passage.content))
    return _share(one, len(said)), _share(two, len(said)), _share(whole, len(said))


def _edits(own: Sequence[str], sentence: Sentence) -> tuple[float, float, float, float, float]:
    """What turns the sentence into the claim; what is left out of it says nothing false."""
    steps = SequenceMatcher(None, sentence.words, own, autojunk=False).get_opcodes()
    count = {"equal": 0, "replace": 0, "insert": 0, "delete": 0}
    for kind, _, _, start, end in steps:
        count[kind] += end - start
    tight = any(
        kind == "replace" and end - start <= _TIGHT and before_end - before <= _TIGHT
        for kind, before, before_end, start, end in steps[1:-1]
    )
    inserts = sum(kind == "insert" for kind, *_ in steps)
    shares = [_share(count[kind], len(own)) for kind in ("equal", "replace", "insert")]
    return shares[0], shares[1], shares[2], float(tight), min(1.0, inserts / 3)


def _facts(claim: str, passage: Passage, sentence: Sentence) -> tuple[float, float, float, float]:
    figures = _figures(claim)
    named = {word for span in names(claim) for word in words(claim[slice(*span)])}
    return (
        float(bool(figures - _figures(passage.text))),
        float(bool(figures - _figures(sentence.text))),
        float(bool(named.difference(words(passage.text)))),
        float(bool(named.difference(words(sentence.text)))),
    )


def _figures(text: str) -> set[str]:
    return {plain_number(text[slice(*span)]) for span in numbers(text)}


def _turns(own: Sequence[str], said: Collection[str], sentence: Sentence) -> float:
    """Of the content words and numbers that stand once in the sentence: neighbours that stand there the other way."""
    once = [word for word in own if (word in said or word.isdigit()) and sentence.words.count(word) == 1]
    places = [sentence.words.index(word) for word in once]
    return _share(sum(one > other for one, other in itertools.pairwise(places)), len(places) - 1)


def _neighbours(row: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(row))


def _share(part: int, whole: int) -> float:
    return part / whole if whole > 0 else 0.0
