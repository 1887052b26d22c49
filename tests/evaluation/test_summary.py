"""Tables and verdicts say no more than the scores do."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE, NOT_APPLICABLE, UNANSWERABLE
from raglift.evaluation.scale import SECONDS
from raglift.evaluation.statistics import Resampling, compare, holm, mean_interval
from raglift.evaluation.summary import table, verdicts
from raglift.records import Score

ALONE = Resampling()
FAMILIES = {"retrieval": ["nDCG@10", "R@5"], "response": ["token_f1"]}


def scores_of(arm: str, metric: str, values: np.ndarray) -> list[Score]:
    return [Score(metric, f"q{number}", arm, float(value)) for number, value in enumerate(values)]


def test_a_cell_counts_what_failed_but_not_what_does_not_apply() -> None:
    scores = [
        Score("token_f1", "a", "base", 0.5),
        Score("token_f1", "b", "base", 1.0),
        Score("token_f1", "c", "base", None, NO_ANSWER),
        Score("token_f1", "d", "base", None, "the judge timed out"),
        Score("token_f1", "e", "base", None, UNANSWERABLE),
        Score("token_f1", "f", "base", None, NO_REFERENCE),
    ]
    cell = table(scores, ["token_f1"], ALONE)["base"]["token_f1"]
    assert (cell["value"], cell["n"], cell["coverage"]) == (0.75, 2, 0.5)
    assert (cell["worst"], cell["best"]) == (0.375, 0.875)


def test_a_cell_has_the_clustered_interval() -> None:
    values = np.random.default_rng(0).random(60)
    cluster = {f"q{number}": f"d{number // 6}" for number in range(60)}
    clustered = Resampling(cluster, 3, 500)
    cell = table(scores_of("base", "R@5", values), ["R@5"], clustered)["base"]["R@5"]
    expected = mean_interval({f"q{number}": value for number, value in enumerate(values)}, clustered)
    assert (cell["value"], cell["ci_low"], cell["ci_high"]) == (expected.mean, expected.ci_low, expected.ci_high)
    alone = table(scores_of("base", "R@5", values), ["R@5"], Resampling({}, 3, 500))["base"]["R@5"]
    assert alone["ci_low"] != cell["ci_low"]


def test_a_metric_that_applies_to_nothing_has_no_value_and_no_failure() -> None:
    cell = table([Score("token_f1", "a", "base", None, UNANSWERABLE)], ["token_f1"], ALONE)["base"]["token_f1"]
    assert cell == {
        "value": None,
        "n": 0,
        "coverage": 1.0,
        "ci_low": None,
        "ci_high": None,
        "worst": None,
        "best": None,
    }


def test_a_metric_that_failed_everywhere_has_no_coverage() -> None:
    cell = table([Score("token_f1", "a", "base", None, NO_ANSWER)], ["token_f1"], ALONE)["base"]["token_f1"]
    assert (cell["value"], cell["coverage"], cell["worst"], cell["best"]) == (None, 0.0, 0.0, 1.0)


def test_rows_and_columns_keep_their_order() -> None:
    scores = [Score(metric, "a", arm, 0.5) for arm in ("tuned", "base") for metric in ("AP", "R@5")]
    rows = table([*scores, Score("P@1", "a", "base", 0.0)], ["R@5", "P@1", "AP", "unmeasured"], ALONE)
    assert [(arm, list(row)) for arm, row in rows.items()] == [("tuned", ["R@5", "AP"]), ("base", ["R@5", "P@1", "AP"])]


@given(
    st.lists(st.one_of(st.floats(0, 1), st.sampled_from([NO_ANSWER, "broken", *sorted(NOT_APPLICABLE)])), max_size=30)
)
def test_bounds_enclose_the_value(outcomes: list[float | str]) -> None:
    scores = [
        Score("AP", f"q{number}", "base", None, outcome)
        if isinstance(outcome, str)
        else Score("AP", f"q{number}", "base", outcome)
        for number, outcome in enumerate(outcomes)
    ]
    row = table(scores, ["AP"], Resampling(resamples=50)).get("base", {})
    assert bool(row) == bool(outcomes)
    for cell in row.values():
        assert 0 <= cell["coverage"] <= 1
        if cell["value"] is not None and cell["worst"] is not None and cell["best"] is not None:
            assert cell["worst"] - 1e-9 <= cell["value"] <= cell["best"] + 1e-9
            assert (cell["best"] - cell["worst"]) == pytest.approx(1 - cell["coverage"])


def arms_scores() -> list[Score]:
    rng = np.random.default_rng(4)
    base = rng.random(80) * 0.5
    scores = []
    for metric, shift in (("nDCG@10", 0.2), ("R@5", 0.0), ("token_f1", -0.2)):
        scores += scores_of("base", metric, base + 0.2)
        scores += scores_of("tuned", metric, base + 0.2 + shift + rng.normal(0, 0.05, 80))
    return scores


def test_verdicts_tell_better_from_worse_from_neither() -> None:
    result = verdicts(arms_scores(), "test", "base", {"tuned": FAMILIES, "base": FAMILIES}, ALONE)
    assert [(each.metric, each.decision) for each in result] == [
        ("nDCG@10", "better"),
        ("R@5", "cannot tell"),
        ("token_f1", "worse"),
    ]
    assert {(each.question_set, each.arm, each.against, each.n) for each in result} == {("test", "tuned", "base", 80)}


def renamed(names: dict[str, str]) -> list[Score]:
    return [replace(score, metric=names.get(score.metric, score.metric)) for score in arms_scores()]


def test_direction_turns_with_the_metric() -> None:
    scores = renamed({"nDCG@10": "wrongly_refused", "token_f1": "wrongly_answered"})
    families = {"response": ["wrongly_refused", "R@5", "wrongly_answered"]}
    result = verdicts(scores, "test", "base", {"tuned": families}, ALONE)
    assert [each.decision for each in result] == ["worse", "cannot tell", "better"]
    assert result[0].delta > 0


@pytest.mark.parametrize("described", ["answer_length", SECONDS])
def test_what_describes_answers_has_no_verdict_and_costs_no_correction(described: str) -> None:
    scores = renamed({"R@5": described})
    judged = {"tuned": {"retrieval": ["nDCG@10"]}}
    [alone] = verdicts(scores, "test", "base", judged, ALONE)
    advanced: list[int] = []
    families = {"tuned": {"retrieval": ["nDCG@10", described]}}
    assert verdicts(scores, "test", "base", families, ALONE, advance=advanced.append) == [alone]
    assert sum(advanced) == 2


def test_a_difference_of_one_document_is_as_wide_as_the_scale() -> None:
    scores = [Score(metric, "a", arm, 0.5) for metric in ("readability", "AP") for arm in ("base", "tuned")]
    found = verdicts(scores, "test", "base", {"tuned": {"response": ["readability", "AP"]}}, ALONE)
    assert [(each.ci_low, each.ci_high, each.detectable) for each in found] == [(-100, 100, 100), (-1, 1, 1)]


def test_a_large_difference_is_not_cut_to_the_unit_interval() -> None:
    rng = np.random.default_rng(0)
    scores = scores_of("base", "readability", 40 + rng.random(30)) + scores_of(
        "tuned", "readability", 60 + rng.random(30)
    )
    [found] = verdicts(scores, "test", "base", {"tuned": {"response": ["readability"]}}, ALONE)
    assert 19 < found.ci_low < found.delta < found.ci_high < 21
    assert found.decision == "better"
    cell = table(scores, ["readability"], ALONE)["base"]["readability"]
    assert cell["ci_low"] is not None
    assert cell["ci_high"] is not None
    assert 40 < cell["ci_low"] < cell["ci_high"] < 41


@pytest.mark.parametrize(
    ("metric", "worst", "best"),
    [
        ("token_f1", 0.25, 0.75),
        ("wrongly_refused", 0.75, 0.25),
        ("readability", 0.25, 50.25),
        ("answer_length", 0.25, None),  # there is no longest answer
    ],
)
def test_what_is_missing_is_bounded_by_the_scale(metric: str, worst: float, best: float | None) -> None:
    scores = [Score(metric, "a", "base", 0.5), Score(metric, "b", "base", None, NO_ANSWER)]
    cell = table(scores, [metric], ALONE)["base"][metric]
    assert (cell["worst"], cell["best"]) == (worst, best)
    whole = table(scores[:1], [metric], ALONE)["base"][metric]
    assert (whole["worst"], whole["best"]) == (0.5, 0.5)


def test_an_interval_without_an_end_is_none_and_the_cell_is_json() -> None:
    cell = table([Score("answer_length", "a", "base", 7.0)], ["answer_length"], ALONE)["base"]["answer_length"]
    assert (cell["ci_low"], cell["ci_high"]) == (0.0, None)
    assert json.loads(json.dumps(cell, allow_nan=False)) == cell


def test_p_is_corrected_within_a_family_only() -> None:
    scores, resampling = arms_scores(), Resampling({f"q{number}": f"d{number // 4}" for number in range(80)}, 7, 400)
    raw = {}
    for metric in ("nDCG@10", "R@5", "token_f1"):
        a, b = (
            {
                each.qa_id: each.value
                for each in scores
                if each.arm == arm and each.metric == metric and each.value is not None
            }
            for arm in ("tuned", "base")
        )
        raw[metric] = compare(a, b, resampling)
    result = verdicts(scores, "test", "base", {"tuned": FAMILIES}, resampling)
    expected = [*holm([raw["nDCG@10"].p, raw["R@5"].p]), raw["token_f1"].p]
    assert [each.p for each in result] == expected
    assert result[0].p == pytest.approx(2 * raw["nDCG@10"].p)
    assert [(each.delta, each.ci_low, each.ci_high, each.detectable) for each in result] == [
        (each.delta, each.ci_low, each.ci_high, each.detectable) for each in raw.values()
    ]


def test_metrics_that_do_not_apply_give_no_verdict_and_cost_no_correction() -> None:
    scores = [each for each in arms_scores() if each.metric != "R@5"]
    scores += [Score("R@5", "q0", arm, None, UNANSWERABLE) for arm in ("base", "tuned")]
    result = verdicts(scores, "test", "base", {"tuned": FAMILIES}, ALONE)
    assert [each.metric for each in result] == ["nDCG@10", "token_f1"]
    assert result[0].p == pytest.approx(1 / 2001)


def test_metrics_that_failed_everywhere_cannot_tell() -> None:
    scores = [Score("token_f1", f"q{number}", "tuned", None, NO_ANSWER) for number in range(80)]
    scores += [each for each in arms_scores() if each.arm == "base"]
    [result] = verdicts(scores, "test", "base", {"tuned": {"response": ["token_f1"]}}, ALONE)
    assert (result.n, result.decision, result.p) == (0, "cannot tell", 1.0)
    assert verdicts(scores, "test", "base", {"tuned": {"retrieval": ["R@5"]}}, ALONE) == []


def test_arms_are_held_against_the_other_in_the_order_given() -> None:
    scores = [replace(each, arm=arm) for each in arms_scores() if each.arm == "tuned" for arm in ("b", "a")]
    scores += [each for each in arms_scores() if each.arm == "base"]
    result = verdicts(scores, "test", "base", dict.fromkeys(("b", "base", "a"), FAMILIES), ALONE)
    assert [each.arm for each in result] == ["b"] * 3 + ["a"] * 3


def test_all_that_is_measured_is_counted_with_and_without_a_verdict() -> None:
    scores = [each for each in arms_scores() if each.metric != "R@5"]
    cells: list[int] = []
    rows = table(scores, ["nDCG@10", "R@5", "token_f1"], ALONE, cells.append)
    assert sum(cells) == sum(map(len, rows.values())) == 4
    compared: list[int] = []
    found = verdicts(scores, "test", "base", {"tuned": FAMILIES, "base": FAMILIES}, ALONE, advance=compared.append)
    assert (len(found), sum(compared)) == (2, 3)
