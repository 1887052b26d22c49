"""Whether a judge can be believed: what it says of answers that are known to be right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raglift.errors import UserError
from raglift.evaluation.rates import Rate, sum_interval, wilson
from raglift.journal import Journal
from raglift.judging.items import Example, Item
from raglift.judging.judge import Judge, Judgement
from raglift.judging.questions._base import JudgeQuestion

_LEAST_PARSED = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """What a judge says of known answers, for one question.

    Attributes:
        sensitivity: Of right answers that it takes for right.
        specificity: Of wrong answers that it takes for wrong.
        youden: Youden's J, sensitivity + specificity - 1: 0 for a judge that throws a coin, 1 for one that never errs.
        youden_low, youden_high: Its 95% interval.
        unparsed: Known answers on which it gave no label.
        by_corruption: What was done to wrong answers -> of these, what it takes for wrong.
        refused: Why it is not believed; empty where it is.
    """

    sensitivity: Rate
    specificity: Rate
    youden: float
    youden_low: float
    youden_high: float
    unparsed: int
    by_corruption: dict[str, Rate]
    refused: str = ""

    @property
    def believed(self) -> bool:
        """Whether it is told from chance."""
        return not self.refused

    @property
    def balanced_accuracy(self) -> float:
        """The mean of sensitivity and specificity."""
        return (self.sensitivity.value + self.specificity.value) / 2

    def as_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {**asdict(self), "believed": self.believed, "balanced_accuracy": self.balanced_accuracy}


def examine(
    judge: Judge,
    question: JudgeQuestion,
    examples: Sequence[Example],
    floor: float = 0.0,
    journal: Journal | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Health:
    """What the judge says of the examples, and whether it is to be believed.

    Args:
        examples: As `question.examples` makes them.
        floor: Youden's J that the lower end of its interval must be above.
        journal: What was asked before, and is not asked again.
        advance: Told how many more examples are done.

    Example:
        >>> examine(judge, Correctness(), Correctness().examples(known, 100, seed=0)).believed
        False
    """
    items: list[Item] = [example.item for example in examples]
    return health_of(examples, judge.judge(question, items, journal, advance), floor)


def health_of(examples: Sequence[Example], said: Sequence[Judgement], floor: float = 0.0) -> Health:
    """`examine`, of what a judge has said."""
    hits: dict[bool, list[float]] = {True: [], False: []}
    by_corruption: dict[str, list[float]] = {}
    for example, judgement in zip(examples, said, strict=True):
        if judgement.value is None:
            continue
        hit = judgement.value if example.good else 1 - judgement.value
        hits[example.good].append(hit)
        if example.how:
            by_corruption.setdefault(example.how, []).append(hit)
    sensitivity, specificity = (wilson(sum(each), len(each)) for each in (hits[True], hits[False]))
    youden = sensitivity.value + specificity.value - 1
    low, high = sum_interval(sensitivity, specificity)
    unparsed = sum(judgement.value is None for judgement in said)
    found = Health(
        sensitivity,
        specificity,
        youden,
        low - 1,
        high - 1,
        unparsed,
        {how: wilson(sum(each), len(each)) for how, each in sorted(by_corruption.items())},
    )
    return Health(**{name: getattr(found, name) for name in _MEASURED}, refused=_refusal(found, said, floor))


_MEASURED = tuple(name for name in Health.__dataclass_fields__ if name != "refused")


def _refusal(found: Health, said: Sequence[Judgement], floor: float) -> str:
    """Why a judge is not believed; empty if it is."""
    right, wrong = found.sensitivity, found.specificity
    if not said:
        return "there are no known answers to test it with"
    if found.unparsed > (1 - _LEAST_PARSED) * len(said):
        reason = next(judgement.reason for judgement in said if judgement.value is None)
        return f"it gave no label on {found.unparsed} of {len(said)} known answers, as on the first: {reason}"
    if not right.n or not wrong.n:
        return f"it was tested on {right.n} right and {wrong.n} wrong answers, and needs both"
    if found.youden_low > floor:
        return ""
    chance = "chance" if floor == 0 else f"the floor of {floor:g}"
    return (
        f"it is not told from {chance}: it takes {_shown(right)} of the right answers for right and {_shown(wrong)} of "
        f"the wrong ones for wrong, Youden's J {found.youden:+.2f}, 95% interval {found.youden_low:+.2f} to "
        f"{found.youden_high:+.2f}"
    )


def _shown(rate: Rate) -> str:
    return f"{rate.hits:g}/{rate.n}"


def refuse(judge: Judge, question: str, health: Health) -> UserError:
    """The error for who insists on a judge that is not believed."""
    return UserError(
        f"The judge {judge.name} is refused for {question}.",
        f"Tested on known answers, {health.refused}.",
        "Take a larger judge, or another question; `--items` tests on more known answers.",
    )
