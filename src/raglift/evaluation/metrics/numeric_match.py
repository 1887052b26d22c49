"""Whether an answer states the numbers of a reference, however they are written."""

from __future__ import annotations

import math
import re

from raglift.evaluation.metrics._base import AnswerMetric, references, without_reference
from raglift.evaluation.reasons import NO_NUMBER
from raglift.records import QAPair

_TOLERANCE = 1e-6
_SCALES = {
    **{"thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "mln": 1e6, "m": 1e6},
    **{"billion": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12},
    **{"%": 0.01, "percent": 0.01, "per cent": 0.01, "pct": 0.01},
}
_NUMBER = re.compile(
    r"""
    (?P<sign> (?<![\w)\]}.%]) [-\N{MINUS SIGN}] [$\N{EURO SIGN}\N{POUND SIGN}\N{YEN SIGN}]? )?
    (?P<digits> (?<![^\W\d_]) (?<!\d)
        (?: \d{1,3} (?: [,\u00a0\u202f\u2009] \d{3} )+ (?!\d) (?: \.\d+ )? | \d+ (?: \.\d+ )? | (?<!\.) \.\d+ ) )
    (?: [ \u00a0\u202f-]? (?P<unit> % | (?i: percent | per\ cent | pct | (?: thousand | million | billion | trillion )s?
        | mln | mn | bn | tn ) (?!\w) ) | (?P<letter> [KMB] ) (?!\w) )?
    """,
    re.VERBOSE,
)


class NumericMatch(AnswerMetric):
    """1 if the answer states every number of one of the references, else 0.

    A number is written in digits, with a decimal point, commas or narrow spaces between thousands, a minus sign where
    nothing stands before it, and the word after it: thousand, million, billion, trillion (mn, mln, bn, tn, or K, M, B
    next to the digits) or percent. "1.5 million", "1,500,000" and "$1.5M" are equal, and so are "5%" and "0.05", but
    not "5%" and "5". Two numbers are equal if they differ by at most a millionth of the larger one.

    Digits inside of a word ("Q3", "COVID19") and numbers in words ("twelve") are none, as are brackets for a minus and
    decimal commas. Other units and currencies are not looked at, and further numbers in the answer cost nothing: a year
    beside the figure is no mistake. Questions whose references have no number lie outside.
    """

    name = "numeric_match"

    def outside(self, question: QAPair) -> str:
        missing = without_reference(question)
        return missing or ("" if any(map(numbers, references(question))) else NO_NUMBER)

    def value(self, question: QAPair, answer: str) -> float:
        stated = numbers(answer)
        wanted = [found for reference in references(question) if (found := numbers(reference))]
        return float(any(all(_among(number, stated) for number in each) for each in wanted))


def numbers(text: str) -> list[float]:
    """The numbers that a text states, in order, their units multiplied in."""
    return [_read(match) for match in _NUMBER.finditer(text)]


def _read(match: re.Match[str]) -> float:
    value = float(re.sub(r"[,\s]", "", match["digits"]))
    unit = (match["unit"] or match["letter"] or "").lower()
    scale = _SCALES.get(unit, _SCALES.get(unit.removesuffix("s"), 1.0))
    return (-value if match["sign"] else value) * scale


def _among(number: float, stated: list[float]) -> bool:
    return any(math.isclose(number, each, rel_tol=_TOLERANCE) for each in stated)


PLUGIN = NumericMatch()
