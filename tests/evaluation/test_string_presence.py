"""The metric that ragas computes: it agrees with ragas, and says what is missing where ragas is not there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ragas.metrics.collections import StringPresence

from raglift import plugins
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE, UNANSWERABLE
from raglift.evaluation.response import score_answers
from raglift.records import QAPair, Score

METRIC = "string_presence"
EXAMPLES = [
    ("It raises a SyntaxError.", "SyntaxError", 1.0),
    ("It raises a syntaxerror.", "SyntaxError", 0.0),  # ragas does not fold case
    ("a party", "art", 1.0),  # nor does it look for whole words
    ("SyntaxError", "a SyntaxError", 0.0),  # nor take articles away
    ("\u00c9t\u00e9 1990", "1990", 1.0),
    ("1990", "1990", 1.0),
    ("", "1990", 0.0),
]


def refuse(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError(f"nothing should be embedded, got {texts}")


def scores(questions: list[QAPair], answers: dict[str, str | None]) -> list[Score]:
    return score_answers(questions, answers, [METRIC], "arm", refuse)


@pytest.mark.parametrize(("answer", "reference", "expected"), EXAMPLES)
def test_it_agrees_with_ragas(make_question: Any, answer: str, reference: str, expected: float) -> None:
    [score] = scores([make_question("q", (reference,))], {"q": answer})
    assert score == Score(METRIC, "q", "arm", expected)
    assert asyncio.run(StringPresence().ascore(reference=reference, response=answer)).value == expected


def test_any_reference_counts_and_questions_are_not_mixed_up(make_question: Any) -> None:
    questions = [
        make_question("one", ("blue", "green")),
        make_question("two", ("green",)),
        make_question("three", ("red", "")),
    ]
    found = scores(questions, {"one": "a green door", "two": "a blue door", "three": "a red door"})
    assert [(score.qa_id, score.value) for score in found] == [("one", 1.0), ("two", 0.0), ("three", 1.0)]


def test_what_cannot_be_scored_is_none_with_a_reason(make_question: Any) -> None:
    questions = [
        make_question("refuse", answerable=False),
        make_question("blank", (" ",)),
        make_question("silent", ("blue",)),
        make_question("scored", ("blue",)),
    ]
    found = scores(questions, {"refuse": "no", "blank": "no", "silent": None, "scored": "blue"})
    expected = [(None, UNANSWERABLE), (None, NO_REFERENCE), (None, NO_ANSWER), (1.0, "")]
    assert [(score.value, score.reason) for score in found] == expected


def test_it_works_inside_a_running_event_loop(make_question: Any) -> None:
    async def inside() -> list[Score]:
        return scores([make_question("q", ("blue",))], {"q": "a blue door"})

    assert [score.value for score in asyncio.run(inside())] == [1.0]


@pytest.mark.parametrize("module", ["ragas", "langchain_community"])
def test_without_ragas_the_error_says_how_to_get_it(
    make_question: Any, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in (module, "ragas"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match="needs ragas") as caught:
        scores([make_question("q", ("blue",))], {"q": "blue"})
    assert module in caught.value.why
    assert caught.value.fix == "pip install -c constraints.txt ragas langchain-community==0.4.1"


def test_ragas_is_not_touched_where_nothing_is_to_be_scored(
    make_question: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ragas.metrics.collections", None)
    [score] = scores([make_question("q", answerable=False)], {"q": "blue"})
    assert score.reason == UNANSWERABLE


def test_loading_the_metric_does_not_import_ragas_and_tracking_is_off() -> None:
    code = (
        "import sys, os; from raglift import plugins; plugins.load('response metric', 'string_presence');"
        "print('ragas' in sys.modules, os.environ['RAGAS_DO_NOT_TRACK']);"
        "from ragas._analytics import do_not_track; print(do_not_track())"
    )
    clean = {name: value for name, value in os.environ.items() if name != "RAGAS_DO_NOT_TRACK"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split() == ["False", "true", "True"]


def test_it_is_known_to_the_config_but_not_a_default() -> None:
    assert METRIC in plugins.names("response metric")
    config = config_from_dict({"data": {"documents": "python-reference"}})
    assert METRIC not in config.evaluation.response
    chosen = {"data": {"documents": "python-reference"}, "evaluation": {"response": [METRIC]}}
    assert config_from_dict(chosen).evaluation.response == [METRIC]
