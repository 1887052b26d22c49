"""A finished run by slices: what hurt comes first, in Python, on the command line and in what is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raglift import cli
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.evaluation.slicing import dimensions
from raglift.report.slice_view import focus, harms, told
from raglift.report.slices import headline_metrics, trained_arms
from raglift.serve.result import RunResult
from tests.sliced_runs import DOCUMENTS, EACH, HURT, sliced_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return sliced_run(tmp_path_factory.mktemp("sliced") / "indexes")


@pytest.fixture(scope="module")
def found(run: RunResult) -> dict[str, Any]:
    return run.slices(quiet=True)


def test_the_kind_that_was_hurt_comes_first(found: dict[str, Any]) -> None:
    first = found["rows"][0]
    assert (first["dimension"], first["slice"], first["decision"]) == ("kind", HURT, "worse")
    assert first["delta"] == pytest.approx(-0.2, abs=0.03)
    assert (first["n"], first["documents"]) == (DOCUMENTS, DOCUMENTS)
    whole = [row for row in found["rows"] if row["arm"] == "tuned_both" and row["dimension"] == "kind"]
    assert sum(row["n"] * row["delta"] for row in whole) / (DOCUMENTS * EACH) > 0.1


def test_trained_arms_and_headline_metrics_are_looked_at(found: dict[str, Any]) -> None:
    assert {row["arm"] for row in found["rows"]} == {"tuned_embedding", "tuned_both", "tuned_hybrid"}
    assert {row["metric"] for row in found["rows"]} == {"nDCG@10"}
    notes = {(note["arm"], note["metric"]) for note in found["notes"] if "of base on every question" in note["note"]}
    alike = {(arm, "token_f1") for arm in ("tuned_embedding", "tuned_both", "tuned_llm")}
    assert notes == alike | {("tuned_llm", "nDCG@10")}
    assert set(found["dimensions"]) == set(dimensions())


def test_what_has_bm25_in_it_is_not_cut_by_bm25(found: dict[str, Any]) -> None:
    by = {(row["arm"], row["dimension"]) for row in found["rows"]}
    assert ("tuned_both", "difficulty") in by
    assert ("tuned_hybrid", "difficulty") not in by
    assert ("tuned_hybrid", "wording") in by


def test_all_is_asked_for_by_name(run: RunResult) -> None:
    found = run.slices(question_set="synthetic", arm="bm25", metric="nDCG@10", least=1000, quiet=True)
    assert found["rows"] == []  # it has the base's scores
    found = run.slices(arm="tuned_both", metric="nDCG@10", least=1000, quiet=True)
    assert {row["why"] for row in found["rows"]} == {"fewer than 1000 questions"}
    assert told(found) == (
        "No slice could be judged: each has fewer than 1000 questions, or is about fewer than 6 documents."
    )


@pytest.mark.parametrize(
    ("wanted", "what", "why"),
    [
        ({"question_set": "synthetics"}, "no question set called 'synthetics'", "did you mean 'synthetic'?"),
        ({"arm": "tuned_bot"}, "no slices of an arm called 'tuned_bot'", "did you mean 'tuned_both'?"),
        ({"arm": "base"}, "no slices of an arm called 'base'", "held against 'base'"),
        ({"metric": "nDCG"}, "no scores of a metric called 'nDCG'", "did you mean 'nDCG@10'?"),
        ({"least": 0}, "0 questions make no slice", ""),
    ],
)
def test_what_is_not_there_is_refused(run: RunResult, wanted: dict[str, Any], what: str, why: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        run.slices(**wanted, quiet=True)
    assert why in caught.value.why


def test_a_metric_that_only_describes_has_no_harm(run: RunResult) -> None:
    settings = run.config.model_dump(mode="json")
    settings["evaluation"]["response"] = ["token_f1", "answer_length"]
    changed = RunResult(run.folder)
    changed.__dict__["config"] = config_from_dict(settings)
    with pytest.raises(UserError, match="no slices by 'answer_length'"):
        changed.slices(metric="answer_length", quiet=True)


def test_scores_that_are_gone_are_said_to_be(run: RunResult, tmp_path: Path) -> None:
    shutil.copytree(run.workspace, tmp_path / "indexes")
    copy = RunResult(tmp_path / "indexes" / "runs" / "demo")
    shutil.rmtree(copy.workspace / "evaluation")
    with pytest.raises(UserError, match="evaluation is not there any more"):
        copy.slices(quiet=True)


def test_a_reranker_is_trained_and_a_closed_book_is_no_arm_of_slices() -> None:
    config = config_from_dict({"run": "r", "data": {"documents": "d"}, "rerank": {}})
    names = [arm.name for arm in trained_arms(config)]
    assert names == ["tuned_embedding", "tuned_llm", "tuned_both", "tuned_hybrid", "reranked", "tuned_all"]
    assert headline_metrics(config.evaluation) == ["nDCG@10", "token_f1"]


def test_the_arm_in_focus_is_the_chosen_one_or_the_most_tuned(found: dict[str, Any]) -> None:
    assert focus(found, "tuned_hybrid") == "tuned_hybrid"
    assert focus(found, "base") == "tuned_both"
    assert focus({"rows": []}, "tuned_both") is None
    assert set(harms(found)[0]["arms"]) >= {"tuned_both", "tuned_embedding"}, "they retrieve alike"


def test_the_command_prints_harms_first_and_json_holds_all(
    run: RunResult, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["slices", "demo", "--workspace", str(run.workspace), "--quiet"]
    assert cli.main(given) == 0
    printed = capsys.readouterr().out
    assert "Tuning certainly hurt in" in printed.splitlines()[0]
    assert printed.index("certain harms") < printed.index(HURT) < printed.index("tuned_both against base: nDCG@10")
    assert cli.main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found))
    more = ["--arm", "tuned_embedding", "--set", "synthetic", "--metric", "nDCG@10", "--least", "30"]
    assert cli.main([*given, *more]) == 0
    printed = capsys.readouterr().out
    assert "tuned_embedding against base: nDCG@10, synthetic questions" in printed
    assert "not judged: fewer than 30 questions" in printed
    assert cli.main([*given, "--arm", "none"]) == 2
    assert "no slices of an arm called 'none'" in capsys.readouterr().err
