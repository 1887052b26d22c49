"""The filters against questions that were labelled by hand."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from raglift import plugins

ROOT = Path(__file__).parents[2]
FLOORS = {
    "answer_in_evidence": 0.98,
    "copied_wording": 0.65,
    "form": 0.7,
    "near_duplicate": 0.8,
    "refers_to_passage": 0.95,
    "round_trip": 0.93,
}
"""Lowest share of bad ones among the dropped; the filters that drop none have no floor."""

SILENT = {"closed_book", "personal_data", "prompt_injection", "toxicity"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "filter_quality.py"
    spec = importlib.util.spec_from_file_location("filter_quality", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(script: ModuleType) -> dict[str, Any]:
    return {item.name: item for item in script.qualities(script.labelled())}


def test_every_filter_is_judged() -> None:
    assert FLOORS.keys() | SILENT == set(plugins.names("question filter"))


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_precision(found: dict[str, Any], name: str) -> None:
    assert found[name].precision >= FLOORS[name]


@pytest.mark.parametrize("name", ["answer_in_evidence", "form", "refers_to_passage", "round_trip"])
def test_filters_of_bad_questions_beat_chance(found: dict[str, Any], name: str) -> None:
    assert found[name].precision > found[name].by_chance


@pytest.mark.parametrize("name", sorted(SILENT))
def test_a_language_reference_holds_nothing_for_some_filters(found: dict[str, Any], name: str) -> None:
    assert found[name].precision is None
    assert found[name].recall == 0


def test_labels(script: ModuleType) -> None:
    rows = script.labelled()
    assert len(rows) >= 200
    assert all((row["label"] == "good") == (row["reason"] == "sound") for row in rows)
    assert all(row["evidence"] and row["question"] for row in rows)
    assert all(bool(row["answer"]) <= (row["kind"] != "keyword") for row in rows)
    assert all(("guess" in row) == bool(row["answer"]) for row in rows)
    told = (ROOT / "tests" / "data" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{reason}` |" in told for reason in Counter(row["reason"] for row in rows))


def test_shares_are_those_of_a_count_by_hand(script: ModuleType) -> None:
    quality = script.Quality("x", frozenset({0, 1, 2}), frozenset({0, 1, 3}), ("a", "a", "b", "b", "b"))
    assert quality.precision == pytest.approx(2 / 3)
    assert quality.recall == pytest.approx(2 / 3)
    assert quality.good_lost == pytest.approx(1 / 2)
    assert quality.by_chance == pytest.approx((1 + 1 + 1 / 3) / 3)


def test_the_page_shows_the_table(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0, "run python scripts/filter_quality.py --write"
    with pytest.raises(ValueError, match="filter-quality"):
        script.renewed("no markers", "table")
    assert script.main([]) == 0
    assert capsys.readouterr().out.strip() in script.PAGE.read_text(encoding="utf-8")
