"""What score_answers guards whatever a metric does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from raglift import plugins
from raglift.evaluation.metrics._base import Embed, Reply, ResponseMetric, Value
from raglift.evaluation.response import score_answers
from raglift.evaluation.scale import Scale
from raglift.records import QAPair


class Constant(ResponseMetric):
    """Gives the same values whatever it is asked."""

    name = "constant"

    def __init__(self, values: list[Value]) -> None:
        self.values = values

    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        return self.values


def score(monkeypatch: pytest.MonkeyPatch, question: QAPair, values: list[Value]) -> Any:
    monkeypatch.setattr(plugins, "load", lambda kind, name: Constant(values))
    [result] = score_answers([question], {"q": "yes"}, ["constant"], "arm", lambda texts: None)  # type: ignore[arg-type, return-value]
    return result


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_becomes_none(monkeypatch: pytest.MonkeyPatch, make_question: Any, number: float) -> None:
    result = score(monkeypatch, make_question(), [Value(number)])
    assert result.value is None
    assert result.reason


def test_value_and_reason_are_passed_on(monkeypatch: pytest.MonkeyPatch, make_question: Any) -> None:
    assert score(monkeypatch, make_question(), [Value(0.25)]).value == 0.25
    assert score(monkeypatch, make_question(), [Value(None, "why")]).reason == "why"


def test_a_metric_that_drops_questions_is_caught(monkeypatch: pytest.MonkeyPatch, make_question: Any) -> None:
    with pytest.raises(ValueError, match="zip"):
        score(monkeypatch, make_question(), [])


@pytest.mark.parametrize("number", [-0.001, 1.001])
def test_a_value_outside_of_the_metrics_bounds_is_caught(
    monkeypatch: pytest.MonkeyPatch, make_question: Any, number: float
) -> None:
    with pytest.raises(ValueError, match="constant gave"):
        score(monkeypatch, make_question(), [Value(number)])


def test_the_bounds_are_the_metrics_own(monkeypatch: pytest.MonkeyPatch, make_question: Any) -> None:
    monkeypatch.setattr(Constant, "scale", Scale(-5.0, math.inf, better=None))
    assert score(monkeypatch, make_question(), [Value(17.0)]).value == 17.0
    assert score(monkeypatch, make_question(), [Value(-5.0)]).value == -5.0
    with pytest.raises(ValueError, match="constant gave"):
        score(monkeypatch, make_question(), [Value(-5.1)])
