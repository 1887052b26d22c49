"""What other commands have left in a run's folder, for its report: judge.json and support.json.

The files lie where anybody may write, so that nothing of them is shown that is not of the form that raglift writes, and
nothing that was said of another evaluation's answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from raglift.records import Decision
from raglift.serve.judge import FILE as JUDGES
from raglift.serve.support import FILE as SUPPORT

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Ends: TypeAlias = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Rate(_Part):
    value: Share
    low: Share
    high: Share
    n: Count


class _Health(_Part):
    sensitivity: _Rate
    specificity: _Rate
    youden: FiniteFloat
    youden_low: FiniteFloat
    youden_high: FiniteFloat
    unparsed: Count
    believed: bool
    refused: str


class _Question(_Part):
    about: str
    health: _Health


class _Judge(_Part):
    name: str
    read_by: str


class _Corrected(_Part):
    value: FiniteFloat | None
    observed: FiniteFloat | None
    ci_low: FiniteFloat | None
    ci_high: FiniteFloat | None
    n: Count
    coverage: Share

    @model_validator(mode="after")
    def _a_value_has_its_interval(self) -> Self:
        if self.value is not None and None in (self.observed, self.ci_low, self.ci_high):
            raise ValueError("a value without what was observed, or without its interval")
        return self


class _Difference(_Part):
    question_set: str
    question: str
    arm: str
    against: str
    value: FiniteFloat
    observed: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    p: Share
    n: Count
    decision: Decision


class Judged(_Part):
    """What the report shows of one judge, in the words of `raglift.serve.judge`."""

    evaluation: str
    judge: _Judge
    questions: dict[str, _Question]
    scores: dict[str, dict[str, dict[str, _Corrected]]]
    differences: list[_Difference]
    own_answers: list[str]


class _Checked(_Part):
    value: Share | None
    interval: Ends
    n: Count


class _CheckerHealth(_Part):
    sensitivity: _Checked
    specificity: _Checked
    balanced_accuracy: Share | None = None
    balanced_interval: Ends | None = None
    """Both are missing in a file that an earlier version wrote."""
    by_kind: dict[str, _Checked]


class _Cell(_Part):
    value: FiniteFloat | None
    ci_low: FiniteFloat | None
    ci_high: FiniteFloat | None
    n: Count
    coverage: Share


class _Verdict(_Part):
    question_set: str
    metric: str
    arm: str
    against: str
    delta: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    p: Share
    detectable: FiniteFloat
    n: Count
    decision: Decision


class Supported(_Part):
    """What the report shows of a support checker, in the words of `raglift.serve.support`."""

    evaluation: str
    checker: Literal["trained", "cross_encoder", "lexical"]
    health: _CheckerHealth
    sets: dict[str, dict[str, _Cell]]
    verdicts: list[_Verdict]


Model = TypeVar("Model", bound=_Part)


def read(folder: Path, evaluation: str) -> dict[str, Any]:
    """What the run's folder holds besides, ready for report.json.

    Args:
        folder: The run's.
        evaluation: The key of its evaluation; what was said of another one's answers is left out.

    Returns:
        `judges` (name -> a `Judged`), `support` (a `Supported`, or None) and `left_out`, a sentence for each file or
        judge that is there and not shown.
    """
    notes: list[str] = []
    judges = {}
    for name, value in (_load(folder / JUDGES, notes, "judge") or {}).items():
        told = _checked(Judged, value, f"{name!r} in {JUDGES}", "judge", evaluation, notes)
        if told is not None:
            judges[str(name)] = told.model_dump(mode="json")
    found = _load(folder / SUPPORT, notes, "support")
    support = None if found is None else _checked(Supported, found, SUPPORT, "support", evaluation, notes)
    told_of = None if support is None else support.model_dump(mode="json")
    return {"judges": judges, "support": told_of, "left_out": notes}


def _load(file: Path, notes: list[str], command: str) -> dict[str, Any] | None:
    """The file's object; None where there is no file, or with a note where it holds none."""
    if not file.exists():
        return None
    try:
        value = json.loads(file.read_text("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a character cannot be written again
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{file.name} is not shown, because it is damaged ({error}); raglift {command} writes it anew.")
        return None
    return value


def _checked(
    model: type[Model], value: Any, what: str, command: str, evaluation: str, notes: list[str]
) -> Model | None:
    """The value as the model; None, with a note, where it is none or was said of other answers."""
    again = f"raglift {command} writes it anew."
    try:
        # By way of JSON, in which 1 may stand for 1.0.
        found = TypeAdapter(model).validate_json(json.dumps(value))
    except (ValidationError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(map(str, first["loc"]))
        why = f"{place}: {first['msg']}" if place else first["msg"]
        notes.append(f"{what} is not shown, because raglift did not write it like that ({why}); {again}")
        return None
    if getattr(found, "evaluation", None) != evaluation:
        notes.append(f"{what} is not shown, because it is about answers of an earlier evaluation; {again}")
        return None
    return found
