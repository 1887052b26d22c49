"""Whether an answer is JSON where JSON was asked for."""

from __future__ import annotations

import json
from typing import Any

from raglift.evaluation.metrics._base import AnswerMetric, references, without_reference
from raglift.evaluation.reasons import NO_JSON
from raglift.records import QAPair


class JsonValid(AnswerMetric):
    """1 if the answer is one JSON object or array (RFC 8259) with nothing around it, of a reference's kind, else 0.

    It looks at the form alone: an object must have the keys of a reference and no others, whatever their values; the
    elements of an array are not looked at. Questions without an object or array among their references lie outside.
    """

    name = "json_valid"

    def outside(self, question: QAPair) -> str:
        missing = without_reference(question)
        return missing or ("" if _forms(question) else NO_JSON)

    def value(self, question: QAPair, answer: str) -> float:
        return float(_form(answer) in _forms(question))


def _forms(question: QAPair) -> list[object]:
    return [form for reference in references(question) if (form := _form(reference)) is not None]


def _form(text: str) -> object:
    """The keys of an object, the type of an array, None for what is neither."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return frozenset(value) if isinstance(value, dict) else list if isinstance(value, list) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


PLUGIN = JsonValid()
