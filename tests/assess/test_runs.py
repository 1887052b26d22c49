"""Runs side by side on what they share, over seeds, and assertions on what they found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raglift
from raglift import cli
from raglift.assess.sheets import run_questions
from raglift.errors import UserError
from raglift.evaluation.inference import noninferiority, questions_needed
from raglift.evaluation.statistics import Resampling, compare, holm
from raglift.serve.result import RunResult
from tests.assess.conftest import SETTINGS, Rows, ScriptedEngine
from tests.assess.scored_runs import ARMS, questions, scored_run, scores

ASKED = questions(36)
EMPTY = SimpleNamespace(documents=[], chunks=[])


def run(root: Path, name: str, lift: float, asked: Any = ASKED, seed: int = 0, **more: Any) -> RunResult:
    found = scores(asked, dict(zip(ARMS, (0.0, lift), strict=True)), seed)
    return scored_run(root, name, {"human": (asked, found)}, **more)


def column(run: RunResult, arm: str, metric: str) -> dict[str, float]:
    lines = (run.artifact("evaluation").path / "human-scores.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["qa_id"]: row["value"] for row in rows if (row["arm"], row["metric"]) == (arm, metric)}


def test_chosen_arms_are_held_against_the_first_run_with_holm_over_a_familys_metrics(tmp_path: Path) -> None:
    old, new = run(tmp_path, "old", 0.05), run(tmp_path, "new", 0.1, seed=1)
    found = raglift.compare_runs(["old", "new"], workspace=tmp_path).as_dict()
    rows = {row["metric"]: row for row in found["verdicts"]}
    cluster = {question.id: question.evidence[0].document_id for question in ASKED}
    expected = {
        metric: compare(
            column(new, "tuned_both", metric), column(old, "tuned_both", metric), Resampling(cluster, 7, 300)
        )
        for metric in rows
    }
    assert set(rows) == {"nDCG@10", "R@5", "token_f1"}
    adjusted = holm([expected["nDCG@10"].p, expected["R@5"].p])
    assert [rows["nDCG@10"]["p"], rows["R@5"]["p"]] == adjusted
    assert rows["token_f1"]["p"] == expected["token_f1"].p
    for metric, row in rows.items():
        assert (row["arm"], row["against"], row["n"]) == ("new/tuned_both", "old/tuned_both", 36)
        assert (row["delta"], row["ci_low"]) == (expected[metric].delta, expected[metric].ci_low)
    assert found["question_sets"] == {"human": {"questions": 36, "documents": 12}}


def test_the_best_comes_first_but_the_first_run_is_what_all_are_held_against(tmp_path: Path) -> None:
    for name, lift in (("low", 0.0), ("high", 0.2), ("middle", 0.1)):
        run(tmp_path, name, lift)
    found = raglift.compare_runs(["low", "high", "middle"], workspace=tmp_path)
    assert list(found.as_dict()["retrieval"]["human"]) == ["high/tuned_both", "middle/tuned_both", "low/tuned_both"]
    assert {row["against"] for row in found.as_dict()["verdicts"]} == {"low/tuned_both"}
    assert str(found).index("high/tuned_both") < str(found).index("low/tuned_both")


def test_every_arm_or_one_by_name(tmp_path: Path) -> None:
    run(tmp_path, "one", 0.1)
    run(tmp_path, "two", 0.1, chosen="base")
    compared = raglift.compare_runs(["one", "two"], "all", workspace=tmp_path).as_dict()
    assert set(compared["retrieval"]["human"]) == {f"{r}/{arm}" for r in ("one", "two") for arm in ARMS}
    assert {row["against"] for row in compared["verdicts"]} == {"one/base"}
    chosen = raglift.compare_runs(["one", "two"], workspace=tmp_path).as_dict()
    assert set(chosen["retrieval"]["human"]) == {"one/tuned_both", "two/base"}
    based = raglift.compare_runs(["one", "two"], "base", workspace=tmp_path).as_dict()
    assert {row["delta"] for row in based["verdicts"]} == {0.0}  # the same seed drew the same base
    with pytest.raises(UserError, match="no arm called 'bse'"):
        raglift.compare_runs(["one", "two"], "bse", workspace=tmp_path)


def test_only_questions_that_are_the_same_in_all_runs_count(tmp_path: Path) -> None:
    run(tmp_path, "one", 0.1, questions(30))
    moved = [replace(q, question="Another text?") if q.id == "q20" else q for q in questions(30, 12)]
    run(tmp_path, "two", 0.1, moved)
    found = raglift.compare_runs(["one", "two"], workspace=tmp_path).as_dict()
    assert found["question_sets"]["human"]["questions"] == 17  # q12 to q29 without q20
    assert {row["n"] for row in found["verdicts"]} == {17}
    assert {cell["n"] for arm in found["retrieval"]["human"].values() for cell in arm.values()} == {17}


def test_tables_are_over_what_every_arm_was_scored_on(tmp_path: Path) -> None:
    run(tmp_path, "one", 0.0)
    fewer = [s for s in scores(ASKED, {"base": 0.0, "tuned_both": 0.0}) if s.metric != "token_f1" or s.qa_id < "q2"]
    failed = [replace(s, value=None, reason="gone") if s.qa_id == "q1" else s for s in fewer]
    scored_run(tmp_path, "two", {"human": (ASKED, failed)})
    cells = raglift.compare_runs(["one", "two"], workspace=tmp_path).as_dict()["response"]["human"]
    assert cells["one/tuned_both"]["token_f1"]["n"] == 12  # q0, q1 and q10 to q19
    assert (cells["two/tuned_both"]["token_f1"]["n"], cells["two/tuned_both"]["token_f1"]["coverage"]) == (11, 11 / 12)


def test_sets_stay_apart_and_one_that_is_not_shared_is_left_out(tmp_path: Path) -> None:
    for name, more in (("one", "synthetic"), ("two", "set")):
        found = scores(ASKED, {"base": 0.0, "tuned_both": 0.1})
        scored_run(tmp_path, name, {"human": (ASKED, found), more: (ASKED, found)})
    assert list(raglift.compare_runs(["one", "two"], workspace=tmp_path).as_dict()["question_sets"]) == ["human"]


def test_other_judgements_of_the_same_questions_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "one", 0.1)
    run(tmp_path, "two", 0.1, questions(36, chunk="other"))
    raglift.compare_runs(["one", "two"], workspace=tmp_path)
    assert "two judges 36 of 36 questions by other passages than one" in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "one", 0.1)
    run(tmp_path, "far", 0.1, questions(9, 100))
    with pytest.raises(UserError, match="no test question in common") as caught:
        raglift.compare_runs(["one", "far"], workspace=tmp_path)
    assert "one: 36 human" in caught.value.why
    for runs in ([], ["one"], ["one", "one"]):
        with pytest.raises(UserError, match="nothing to compare"):
            raglift.compare_runs(runs, workspace=tmp_path)
    with pytest.raises(UserError, match="no run called 'tow'"):
        raglift.compare_runs(["one", "tow"], workspace=tmp_path)


def test_runs_of_one_name_in_two_workspaces_are_told_apart(tmp_path: Path) -> None:
    one, two = run(tmp_path / "a", "same", 0.1), run(tmp_path / "b", "same", 0.2)
    found = raglift.compare_runs([one.folder, two], workspace=tmp_path / "a").as_dict()
    assert set(found["retrieval"]["human"]) == {f"{each.folder}/tuned_both" for each in (one, two)}


def test_no_worse_by_a_margin(tmp_path: Path) -> None:
    old, new = run(tmp_path, "old", 0.1), run(tmp_path, "new", 0.095, seed=0)
    rows = raglift.compare_runs(["old", "new"], margin=0.03, workspace=tmp_path).as_dict()["noninferiority"]
    assert {(row["metric"], row["decision"]) for row in rows} == {
        (metric, "not worse") for metric in ("nDCG@10", "R@5", "token_f1")
    }
    cluster = {question.id: question.evidence[0].document_id for question in ASKED}
    ours, theirs = (column(each, "tuned_both", "R@5") for each in (new, old))
    expected = noninferiority(ours, theirs, 0.03, Resampling(cluster, 7, 300))
    row = next(row for row in rows if row["metric"] == "R@5")
    assert (row["p"], row["ci_low"]) == (expected.p, expected.ci_low)


def test_what_cannot_be_told_says_how_many_questions_would(tmp_path: Path) -> None:
    run(tmp_path, "old", 0.1)
    run(tmp_path, "new", 0.1, seed=3)
    found = raglift.compare_runs(["old", "new"], workspace=tmp_path).as_dict()
    unsure = {row["metric"] for row in found["verdicts"] if row["decision"] == "cannot tell"}
    assert {row["metric"] for row in found["needed"]} == unsure != set()
    assert all(row["questions"] > 36 for row in found["needed"])
    cluster = {question.id: question.evidence[0].document_id for question in ASKED}
    for row in found["needed"]:
        ours, theirs = (
            column(RunResult(tmp_path / "runs" / name), "tuned_both", row["metric"]) for name in ("new", "old")
        )
        tested = 1 if row["metric"] == "token_f1" else 2
        expected = questions_needed(ours, theirs, Resampling(cluster), alpha=0.05 / tested)
        assert (row["questions"], row["documents"]) == (expected.questions, expected.clusters)


def test_the_luck_of_a_training_is_told_from_that_of_the_questions(tmp_path: Path) -> None:
    lifts = [0.02, 0.1, 0.18]
    for seed, lift in enumerate(lifts):
        run(tmp_path, f"seed{seed}", lift, seed=0)
    rows = raglift.compare_seeds([f"seed{seed}" for seed in range(3)], workspace=tmp_path)
    assert {(row["metric"], row["seeds"], row["n"], row["clusters"]) for row in rows} == {
        (metric, 3, 36, 12) for metric in ("nDCG@10", "R@5", "token_f1")
    }
    for row in rows:
        assert row["between_seeds"] == pytest.approx(0.08, rel=0.1)
        assert row["delta"] == pytest.approx(0.1, abs=0.01)
        assert row["error_of_seeds"] > 5 * row["error_of_questions"]
        assert row["ci_low"] < 0 < row["ci_high"]  # three trainings that differ so much show little


def test_an_evaluation_on_a_runs_questions_stands_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path, "first", 0.1)
    monkeypatch.setattr(RunResult, "corpus", EMPTY)
    engine = ScriptedEngine(script={question.question: "yes" for question in ASKED})
    settings = {**SETTINGS, "response": ["token_f1"]}
    raglift.evaluate({"mine": engine}, first, settings=settings, folder=tmp_path / "theirs", quiet=True)
    found = raglift.compare_runs([first, tmp_path / "theirs"], workspace=tmp_path).as_dict()
    (verdict,) = found["verdicts"]
    assert (verdict["arm"], verdict["metric"], verdict["decision"]) == ("theirs/mine", "token_f1", "better")
    assert raglift.compare_runs(["first", tmp_path / "theirs"], workspace=tmp_path).as_dict() == found
    raglift.evaluate({"mine": engine}, "first", settings=settings, workspace=tmp_path, quiet=True)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("one", "two")):
        run(tmp_path, name, 0.1, seed=seed)
    command = ["compare", "one", "two", "--workspace", str(tmp_path), "--quiet"]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == raglift.compare_runs(["one", "two"], workspace=tmp_path).as_dict()
    capsys.readouterr()
    assert cli.main([*command, "--margin", "0.05"]) == 0
    shown = capsys.readouterr().out
    assert "differences" in shown
    assert "not worse" in shown
    assert cli.main([*command, "--seeds"]) == 0
    assert "sd between seeds" in capsys.readouterr().out
    assert cli.main([*command, "--margin", "0"]) == 2
    assert "margin" in capsys.readouterr().err


# Assertions.


def test_a_lift_that_was_measured_passes_and_says_what_the_report_says(tmp_path: Path) -> None:
    found = run(tmp_path, "one", 0.1)
    verdict = raglift.assert_lift(found, "nDCG@10", at_least=0.05)
    (reported,) = (row for row in found.report["verdicts"] if row["metric"] == "nDCG@10" and row["arm"] == "tuned_both")
    assert {key: getattr(verdict, key) for key in reported} == reported
    raglift.assert_lift(found.folder, "nDCG@10")
    raglift.assert_lift(found, "nDCG@10", at_least=-0.02, decision="not worse")


def test_a_lift_that_was_not_measured_raises_with_the_figures(tmp_path: Path) -> None:
    found = run(tmp_path, "one", 0.1)
    with pytest.raises(AssertionError, match=r"better than base by at least 0.3 on R@5") as caught:
        raglift.assert_lift(found, "R@5", at_least=0.3)
    assert "tuned_both" in str(caught.value)
    assert "+0.0" in str(caught.value) or "+0.1" in str(caught.value)
    equal = run(tmp_path, "equal", 0.0)
    with pytest.raises(AssertionError, match="cannot tell"):
        raglift.assert_lift(equal, "R@5")
    with pytest.raises(AssertionError, match="worse"):
        raglift.assert_lift(found, "R@5", arm="base", against="tuned_both")
    with pytest.raises(AssertionError, match=r"no worse than tuned_both by more than 0.01"):
        raglift.assert_lift(found, "R@5", at_least=-0.01, arm="base", against="tuned_both", decision="not worse")


def test_a_lift_of_an_evaluation_is_its_last_engines_over_its_first(rows: Rows) -> None:
    asked = rows(20)
    good = ScriptedEngine(script={row["question"]: row["answer"] for row in asked})
    bad = ScriptedEngine(script={row["question"]: "no idea" for row in asked})
    found = raglift.evaluate({"bad": bad, "good": good}, asked, settings=SETTINGS, quiet=True)
    assert raglift.assert_lift(found, "exact_match", at_least=0.9).delta == 1.0
    with pytest.raises(AssertionError):
        raglift.assert_lift(found, "exact_match", arm="bad", against="good")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric": "nDGC@10"}, "nDGC@10"),
        ({"metric": "R@5", "arm": "tuned"}, "no arm called 'tuned'"),
        ({"metric": "R@5", "against": "tuned_both"}, "against itself"),
        ({"metric": "R@5", "question_set": "synthetic"}, "question set"),
        ({"metric": "R@5", "decision": "not worse"}, "at_least is missing"),
        ({"metric": "R@5", "decision": "not worse", "at_least": 0.02}, "is no loss"),
        ({"metric": "R@5", "decision": "worse"}, "no decision"),
    ],
)
def test_an_assertion_that_says_nothing_is_no_assertion(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = run(tmp_path, "one", 0.1)
    with pytest.raises(UserError, match=message):
        raglift.assert_lift(found, **given)


def test_a_runs_question_set_is_peoples_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scores(ASKED, {"base": 0.0})
    written = [replace(question, origin="synthetic") for question in ASKED[:9]]
    result = scored_run(tmp_path, "one", {"synthetic": (written, found), "human": (ASKED, found)})
    monkeypatch.setattr(RunResult, "corpus", EMPTY)
    assert run_questions(result).name == "human"
    assert len(run_questions(result, "synthetic").questions) == 9
    with pytest.raises(UserError, match="no question set 'humn'"):
        run_questions(result, "humn")
