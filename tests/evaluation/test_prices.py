"""Seconds, tokens and money of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core.base.response.schema import Response

import raglift
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.evaluation.prices import Rates, Spent, price_cells, prices
from raglift.evaluation.statistics import Resampling
from tests.assess.conftest import ScriptedEngine

ROWS = [{"id": f"q{i}", "question": f"Where is {i}?", "answer": "here", "topics": [f"{i}.md"]} for i in range(3)]


def test_what_is_known_of_each_question_is_a_price() -> None:
    spent = [Spent("a", 2.0, 1000, 10), Spent("b", 4.0, 3000, 30), Spent("c", None, 500, None), Spent("d")]
    assert prices(spent, Rates()) == {
        "seconds": {"a": 2.0, "b": 4.0},
        "tokens_in": {"a": 1000, "b": 3000},
        "tokens_out": {"a": 10, "b": 30},
    }
    # A million tokens in cost 2, out 10: (1000 * 2 + 10 * 10) / 1e6 a question, a thousand times that.
    assert prices(spent, Rates(2.0, 10.0))["cost"] == pytest.approx({"a": 2.1, "b": 6.3})
    assert prices([], Rates(2.0, 10.0)) == {}


def test_a_price_has_a_mean_and_no_upper_bound() -> None:
    found = prices([Spent("a", 2.0), Spent("b", 4.0)], Rates())
    cells = price_cells(found, 2, Resampling({"a": "1", "b": "2"}, 0, 100))
    assert cells["seconds"]["value"] == 3.0
    assert (cells["seconds"]["n"], cells["seconds"]["coverage"]) == (2, 1.0)
    assert price_cells(prices([Spent("a", 2.0)], Rates()), 1, Resampling({}, 0, 100))["seconds"]["ci_high"] is None


def test_a_price_that_is_not_known_of_every_answer_says_so() -> None:
    answers = [
        {"id": "q0", "answer": "here", "seconds": 1.0, "tokens_in": 900, "tokens_out": 20},
        {"id": "q1", "answer": "there", "seconds": 3.0},
    ]
    found = raglift.evaluate_answers(answers, ROWS, {"response": ["token_f1"]})
    cells = found.as_dict()["response"]["questions"]["answers"]
    assert {name: cells[name]["coverage"] for name in ("seconds", "tokens_in", "tokens_out")} == {
        "seconds": 1.0,
        "tokens_in": 0.5,
        "tokens_out": 0.5,
    }


def test_one_price_alone_is_refused() -> None:
    with pytest.raises(UserError, match="belong together"):
        config_from_dict({"data": {"documents": "python-reference"}, "evaluation": {"price_in": 1.0}})


def test_answers_from_elsewhere_bring_their_tokens(tmp_path: Path) -> None:
    answers = [
        {"id": "q0", "answer": "here", "tokens_in": 900, "tokens_out": 20, "arm": "counted"},
        {"id": "q1", "answer": "there", "tokens_in": 1100, "tokens_out": 40, "arm": "counted"},
        {"id": "q2", "error": "timed out", "tokens_in": 5000, "tokens_out": 0, "arm": "counted"},
        *({"id": f"q{i}", "answer": "here", "seconds": 0.5, "arm": "not counted"} for i in range(3)),
    ]
    settings = {"response": ["token_f1"], "price_in": 1.0, "price_out": 5.0}
    found = raglift.evaluate_answers(answers, ROWS, settings)
    cells = found.as_dict()["response"]["questions"]
    counted = {name: cell["value"] for name, cell in cells["counted"].items()}
    assert counted == pytest.approx({"token_f1": 0.5, "tokens_in": 1000, "tokens_out": 30, "cost": 1.15})
    assert sorted(cells["not counted"]) == ["seconds", "token_f1"]


@pytest.mark.parametrize("name", ["tokens_in", "seconds"])
@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 10**400])
def test_a_price_that_is_none_is_refused(name: str, wrong: float) -> None:
    with pytest.raises(UserError, match=name):
        raglift.evaluate_answers([{"id": "q0", "answer": "here", name: wrong}], ROWS, {"response": ["token_f1"]})


def test_an_engine_that_counts_nonsense_has_no_tokens() -> None:
    class Counting(ScriptedEngine):
        def custom_query(self, query_str: str) -> Response:
            return Response("here", metadata={"tokens_in": -5, "tokens_out": 10**400})

    cells = raglift.evaluate(Counting(script={}), ROWS, settings={"response": ["token_f1"]}).as_dict()["response"]
    assert sorted(cells["questions"]["engine"]) == ["seconds", "token_f1"]
