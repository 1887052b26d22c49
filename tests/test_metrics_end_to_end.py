"""A whole run that is scored by every metric: in the report, in JSON and on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift import plugins
from raglift.cli_output import score_tables
from raglift.evaluation.scale import COST, PRICES, SECONDS, TOKENS_IN, TOKENS_OUT, scale_of
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow

RETRIEVAL = ["nDCG@10", "SpanRecall@2", "SpanRecall@20", "SpanPrecision@2"]
RESPONSE = plugins.names("response metric")
ANSWERED = [*QUESTIONS, ("Who painted the harbour wall?", None)]


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> raglift.RunResult:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, ANSWERED)
    config = small_config(folder, tiny_llm, tiny_embedding)
    config["data"] |= {"dev_share": 0.0}
    config["embedding"] |= {"strategies": []}
    config["llm"] |= {"strategies": []}
    config["evaluation"] |= {"retrieval": RETRIEVAL, "response": RESPONSE}
    workspace = tmp_path_factory.mktemp("workspace")
    return raglift.run(config | {"run": "scored", "workspace": str(workspace)}, quiet=True)


def test_the_report_says_the_scale_of_every_metric_and_is_json(run: raglift.RunResult) -> None:
    report = json.loads((run.folder / "report.json").read_text("utf-8"), parse_constant=refuse)
    assert report["metrics"] == {name: scale_of(name).described() for name in (*RETRIEVAL, *RESPONSE, *PRICES)}
    cells = report["response"]["human"]["base"]
    assert set(cells) == {*RESPONSE, SECONDS, TOKENS_IN, TOKENS_OUT}
    assert cells["answer_length"]["value"] > 1
    judged = {verdict["metric"] for verdict in report["verdicts"]}
    assert "answer_length" not in judged
    assert {"wrongly_refused", "wrongly_answered", "SpanRecall@2"} <= judged
    page = (run.folder / "report.html").read_text("utf-8")
    assert "neither way is better" in page
    assert "lower is better" in page


def test_a_long_enough_ranking_covers_the_evidence_of_every_question(run: raglift.RunResult) -> None:
    cells = run.report["retrieval"]["human"]["base"]
    assert cells["SpanRecall@20"]["n"] == len(QUESTIONS)
    assert 0 < cells["SpanPrecision@2"]["value"] < 1
    assert cells["SpanRecall@2"]["value"] <= cells["SpanRecall@20"]["value"] <= 1


def test_the_tables_are_printed(run: raglift.RunResult) -> None:
    tables = [table for table in score_tables(run.report) if not isinstance(table, str)]
    columns = {column for table in tables for column in table.columns}
    assert {*RETRIEVAL, *RESPONSE} <= columns


def test_another_price_counts_anew_and_asks_no_model(run: raglift.RunResult) -> None:
    before = json.loads(json.dumps(run.report["response"]["human"]))
    config = run.config.model_dump(mode="json")
    config["evaluation"] |= {"price_in": 2.0, "price_out": 10.0}
    again = raglift.run(config | {"run": "priced"}, quiet=True)
    assert all(stage["cached"] for stage in again.report["stages"])
    for arm, cells in again.report["response"]["human"].items():
        cost = cells.pop(COST)
        assert cells == before[arm]
        expected = (2 * cells[TOKENS_IN]["value"] + 10 * cells[TOKENS_OUT]["value"]) / 1000
        assert cost["value"] == pytest.approx(expected)
        assert (cost["n"], cost["coverage"]) == (cells[TOKENS_IN]["n"], 1.0)
        assert cost["ci_low"] <= cost["value"] <= cost["ci_high"]
