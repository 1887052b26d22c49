"""Seconds, tokens and money of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

import raglift
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.evaluation.prices import Rates, Spent, price_cells, prices
from raglift.evaluation.statistics import Resampling

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
    cells = price_cells(found, Resampling({"a": "1", "b": "2"}, 0, 100))
    assert cells["seconds"]["value"] == 3.0
    assert (cells["seconds"]["n"], cells["seconds"]["coverage"]) == (2, 1.0)
    assert price_cells(prices([Spent("a", 2.0)], Rates()), Resampling({}, 0, 100))["seconds"]["ci_high"] is None


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
    with pytest.raises(UserError, match="tokens_in"):
        raglift.evaluate_answers([{"id": "q0", "answer": "here", "tokens_in": -1}], ROWS, settings)
