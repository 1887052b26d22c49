"""The kinds of value that a configuration's fields take, each with its check and its message in plain words."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from raglift import plugins

LANGUAGES = [
    *("any", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german"),
    *("greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian"),
    *("portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
]
"""Snowball's, whose stemmers BM25 uses, and "any" for words as they stand."""
WRONG = "raglift"
"""The pydantic error type of the mistakes that `wrong` describes."""


def wrong(message: str, *fields: str) -> PydanticCustomError:
    """A mistake in plain words, to be raised by a validator.

    Args:
        message: The whole sentence.
        fields: The keys of the validated section that are wrong together; none: the validated value itself.
    """
    return PydanticCustomError(WRONG, "{message}", {"message": message, "fields": list(fields)})


def shown(value: object) -> str:
    """The value as a message quotes it: its repr, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown key, no conversion between types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class PluginSpec(Section):
    """A plug-in's name and the hyper-parameters that differ from its defaults."""

    name: str
    """The name of the plug-in's file."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Hyper-parameter -> value."""


def _plugin(kind: str) -> AfterValidator:
    def check(name: str) -> str:
        known = plugins.names(kind)
        if name not in known:
            raise wrong(
                f"{name!r} is not {'an' if kind[0] in 'aeiou' else 'a'} {kind} ({plugins.nearest(name, known)})"
            )
        return name

    return AfterValidator(check)


def _auto_or_plugin(kind: str) -> AfterValidator:
    def check(name: str) -> str:
        known = ["auto", *plugins.names(kind)]
        if name not in known:
            raise wrong(f"{name!r} is neither 'auto' nor an {kind} ({plugins.nearest(name, known)})")
        return name

    return AfterValidator(check)


def _path(name: str) -> str:
    if "\0" in name:
        raise wrong(f"{shown(name)} is no path: it holds a zero byte")
    try:
        Path(name).expanduser()
    except RuntimeError as error:
        raise wrong(f"{shown(name)} is no path: there is no home folder of that name") from error
    return name


def _auto_or(number: type[int] | type[float]) -> BeforeValidator:
    def check(value: object) -> object:
        is_number = isinstance(value, number | int) and not isinstance(value, bool)
        if value != "auto" and not (is_number and 0 < value < math.inf):  # type: ignore[operator]
            raise wrong(f"must be 'auto' or a {'whole ' if number is int else ''}number above 0, not {shown(value)}")
        return value

    return BeforeValidator(check)


def _auto_or_part(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 0 <= value < 1):  # type: ignore[operator]
        raise wrong(f"must be 'auto' or a number from 0 to below 1, not {shown(value)}")
    return value


def _distinct(value: object, least: str) -> None:
    """Refuse a list that is empty, or that holds something twice, in words that say what it needs at least."""
    if isinstance(value, list):
        if not value:
            raise wrong(f"must not be empty: name {least}")
        if len({repr(float(each)) if isinstance(each, int | float) else repr(each) for each in value}) < len(value):
            raise wrong(f"names one of them twice: {shown(value)}")


def _rates(value: object) -> object:
    if value is not None and value != "auto" and not isinstance(value, list):
        raise wrong(f"must be 'auto', null or a list of learning rates, not {shown(value)}")
    _distinct(value, "a learning rate, or 'auto'")
    for rate in value if isinstance(value, list) else ():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise wrong(f"must hold numbers above 0, not {shown(rate)}")
    return value


def _shares(value: object) -> object:
    if not isinstance(value, bool | list):
        raise wrong(f"must be true, false or a list of shares of the training set, not {shown(value)}")
    _distinct(value, "a share below 1, or say true")
    for share in value if isinstance(value, list) else ():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise wrong(f"must hold shares above 0 and at most 1, not {shown(share)}")
    if value == [1]:
        raise wrong("must name a share below 1 too: the whole training set is trained on anyway")
    return value


def _ingredients(value: object) -> object:
    if value is not None and value != "auto" and not isinstance(value, list):
        raise wrong(f"must be 'auto', null or a list of keys that the recipe may change, not {shown(value)}")
    _distinct(value, "a key that the recipe may change, or 'auto'")
    known = plugins.names("recipe ingredient")
    for name in value if isinstance(value, list) else ():
        if name not in known:
            near = plugins.nearest(name, known) if isinstance(name, str) else f"known: {', '.join(known)}"
            raise wrong(f"must name keys that the recipe may change, not {shown(name)} ({near})")
    return value


_COMMON_METRICS = ["nDCG@10", "RR@10", "R@5", "R@10", "P@5", "Success@5", "AP", "Rprec", "SpanRecall@5"]
SPAN_METRIC = re.compile(r"(SpanRecall|SpanPrecision)@([1-9][0-9]{0,5})")
"""Retrieval metrics that ir_measures does not have, with their cutoff: see `evaluation/spans.py`."""


def _language(name: str) -> str:
    if name not in LANGUAGES:
        raise wrong(f"{name!r} is not a language of BM25 ({plugins.nearest(name, LANGUAGES)})")
    return name


def _retrieval_metric(name: str) -> str:
    if SPAN_METRIC.fullmatch(name):
        return name
    import ir_measures  # not needed by the commands that read no configuration

    try:
        return str(ir_measures.parse_measure(name)) and name
    except (NameError, ValueError, SyntaxError, KeyError, TypeError) as error:
        near = plugins.nearest(name, _COMMON_METRICS)
        raise wrong(f"{name!r} is not a metric of ir_measures ({near})") from error


def _read_spec(entry: object) -> object:
    if isinstance(entry, PluginSpec):
        return entry
    if isinstance(entry, str):
        return PluginSpec(name=entry)
    if isinstance(entry, dict) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
        if settings is None or isinstance(settings, dict):
            return PluginSpec(name=name, settings=settings or {})
    raise wrong("must be a name, or one name with its settings, such as `lora: {rank: 16}`")


def _write_spec(spec: PluginSpec) -> object:
    return {spec.name: spec.settings} if spec.settings else spec.name


Spec = Annotated[
    PluginSpec,
    BeforeValidator(_read_spec),
    PlainSerializer(_write_spec),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}),
]
"""A name, or a mapping of one name to its hyper-parameters."""
RunName = Annotated[
    str,
    BeforeValidator(lambda name: str(name) if type(name) is int else name),
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100),
]
Name = Annotated[str, Field(min_length=1)]
PathName = Annotated[Name, AfterValidator(_path)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Tokens = Annotated[int, Field(ge=16)]
NotNegativeInt = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(gt=0, le=1e300)]
"""Bounded, so that a sum of weights is a number."""
AutoFloat = Annotated[float | Literal["auto"], _auto_or(float)]
Sweep = Annotated[list[Positive] | Literal["auto"] | None, BeforeValidator(_rates)]
Curve = Annotated[bool | list[PositiveShare], BeforeValidator(_shares)]
Ingredients = Annotated[list[str] | Literal["auto"] | None, BeforeValidator(_ingredients)]
AutoInt = Annotated[int | Literal["auto"], _auto_or(int)]
AutoPart = Annotated[float | Literal["auto"], BeforeValidator(_auto_or_part)]
RetrievalMetric = Annotated[str, AfterValidator(_retrieval_metric)]
Language = Annotated[str, AfterValidator(_language)]
Chunker = Annotated[str, _plugin("chunker")]
Prompt = Annotated[str, _plugin("prompt")]
AutoIndexKind = Annotated[str, _auto_or_plugin("index kind")]
AutoBackend = Annotated[str, _auto_or_plugin("encoding backend")]
QuestionKind = Annotated[str, _plugin("question kind")]
PromptStyle = Annotated[str, _plugin("prompt style")]
QuestionFilter = Annotated[str, _plugin("question filter")]
ResponseMetric = Annotated[str, _plugin("response metric")]
