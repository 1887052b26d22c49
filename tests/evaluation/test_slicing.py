"""Slices: what hurt comes first, the whole is the mean of its parts, and chance is not taken for harm."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.evaluation.arms import arm_named
from raglift.evaluation.slices._base import Facts
from raglift.evaluation.slicing import Asked, Slice, Sliced, harms_first, slice_set
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.records import Evidence, QAPair, Score

METRIC = "nDCG@10"
TUNED = arm_named("tuned_both")


def questions(count: int, a_document: int = 3, kind: Callable[[int], str] = lambda i: "a") -> list[QAPair]:
    return [
        QAPair(f"q{i}", f"Question {i}?", (), (Evidence(f"d{i // a_document}", f"c{i}"),), kind(i), "test", "human")
        for i in range(count)
    ]


def scored(values: Mapping[str, Sequence[float | None]], metric: str = METRIC) -> list[Score]:
    return [Score(metric, f"q{i}", arm, v) for arm, column in values.items() for i, v in enumerate(column)]


def sliced(asked: Sequence[QAPair], scores: Sequence[Score], seed: int = 0, **changes: Any) -> Sliced:
    settings: dict[str, Any] = {"arms": [TUNED], "against": "base", "metrics": [METRIC]}
    resampling = Resampling(clusters(asked), seed, 200)
    return slice_set("human", Facts(asked), scores, Asked(**settings | changes), resampling)


def of(found: Sliced, dimension: str) -> dict[str, Slice]:
    return {row.slice: row for row in found.rows if row.dimension == dimension}


def test_a_slice_that_is_hurt_while_the_whole_gains_comes_first() -> None:
    rng = np.random.default_rng(3)
    asked = questions(120, kind=lambda i: "keyword" if i % 4 == 0 else "factoid")
    base = rng.uniform(0.4, 0.6, 120)
    gain = np.where(np.arange(120) % 4 == 0, -0.2, 0.3) + rng.normal(0, 0.05, 120)
    found = sliced(asked, scored({"base": list(base), "tuned_both": list(np.clip(base + gain, 0, 1))}))
    assert float(np.mean(gain)) > 0.1
    first = found.rows[0]
    assert (first.dimension, first.slice, first.decision) == ("kind", "keyword", "worse")
    assert first.ci_low < -0.2 < first.ci_high < 0  # type: ignore[operator]
    assert first.p <= 0.05  # type: ignore[operator]
    assert of(found, "kind")["factoid"].decision == "better"
    assert sum(row.decision == "worse" for row in found.rows) == 1


def test_where_less_is_better_a_rise_is_the_harm() -> None:
    asked = questions(60, kind=lambda i: "a" if i % 2 else "b")
    base, ours = [0.0] * 60, [1.0 if i % 2 and i % 6 != 1 else 0.0 for i in range(60)]
    scores = scored({"base": base, "tuned_both": ours}, "wrongly_refused")
    found = sliced(asked, scores, metrics=["wrongly_refused"])
    first = found.rows[0]
    assert (first.slice, first.decision, first.delta) == ("a", "worse", pytest.approx(2 / 3))


@given(st.data())
def test_the_mean_over_slices_is_the_whole(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 40))
    kinds = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    value = st.none() | st.floats(0, 1)
    columns = {arm: data.draw(st.lists(value, min_size=count, max_size=count)) for arm in ("base", "tuned_both")}
    asked = questions(count, kind=lambda i: kinds[i])
    found = sliced(asked, scored(columns))
    both = [(a, b) for a, b in zip(columns["tuned_both"], columns["base"], strict=True) if None not in (a, b)]
    for dimension in {row.dimension for row in found.rows}:
        rows = of(found, dimension).values()
        assert sum(row.questions for row in rows) == count
        assert sum(row.n for row in rows) == len(both)
        total = sum(row.n * (row.delta or 0.0) for row in rows)
        assert total == pytest.approx(sum(a - b for a, b in both if a is not None and b is not None))


@given(st.data())
def test_the_order_is_harms_then_losses_then_what_is_not_judged(data: st.DataObject) -> None:
    decision: Any = st.sampled_from(["better", "worse", "cannot tell", "not judged"])
    rows = [
        Slice(
            "s", "a", "base", METRIC, "kind", str(i), 9, 9, 9, data.draw(st.floats(-1, 1)), 0, 0, 1, data.draw(decision)
        )
        for i in range(data.draw(st.integers(0, 8)))
    ]
    found = harms_first(rows)
    groups = [{"worse": 0, "not judged": 2}.get(row.decision, 1) for row in found]
    assert groups == sorted(groups)
    for group in range(3):
        deltas = [row.delta for row, own in zip(found, groups, strict=True) if own == group]
        assert deltas == sorted(deltas)  # type: ignore[type-var]
    assert harms_first(found[::-1]) == found


def test_a_slice_of_few_questions_or_documents_is_not_judged_and_says_so() -> None:
    asked = questions(60, kind=lambda i: "few" if i < 9 else "narrow" if i < 24 else "rest")
    found = of(sliced(asked, scored({"base": [0.5] * 60, "tuned_both": [0.1] * 60})), "kind")
    few, narrow, rest = (found[name] for name in ("few", "narrow", "rest"))
    assert (few.decision, few.why, few.p) == ("not judged", "fewer than 10 questions", None)
    assert (narrow.documents, narrow.decision) == (5, "not judged")
    assert narrow.why == "about fewer than 6 documents"
    assert few.delta == pytest.approx(-0.4), "what was seen is shown all the same"
    assert (rest.decision, rest.why) == ("worse", "")


def test_what_is_not_judged_costs_the_others_no_correction() -> None:
    asked = questions(60, kind=lambda i: "a" if i % 2 else "b")
    extra = [
        *asked,
        *[QAPair(f"q{60 + i}", "Q?", (), asked[i].evidence, f"rare {i}", "test", "human") for i in range(5)],
    ]
    rng = random.Random(1)
    columns = {arm: [rng.random() for _ in range(65)] for arm in ("base", "tuned_both")}
    with_rare, without = (of(sliced(each, scored(columns)), "kind") for each in (extra, asked))
    assert with_rare["a"].p == without["a"].p
    assert len(with_rare) == 7


def test_one_document_is_judged_by_its_questions_and_the_others_by_their_documents() -> None:
    asked = [
        QAPair(f"q{i}", "Q?", (), (Evidence("big" if i < 20 else f"d{i}", f"c{i}"),), "a", "test", "human")
        for i in range(60)
    ]
    ours = [0.2 + i / 1000 for i in range(20)] + [0.5 + i / 1000 for i in range(40)]
    found = of(sliced(asked, scored({"base": [0.5] * 60, "tuned_both": ours})), "document")
    assert (found["big"].documents, found["big"].decision) == (1, "worse")
    assert found["big"].ci_high < -0.2  # type: ignore[operator]
    assert found["other documents"].documents == 40


def test_clusters_count_and_not_questions() -> None:
    """Twenty questions of each of six documents are no 120 independent ones."""
    rng = np.random.default_rng(0)
    luck = np.repeat(rng.normal(0, 0.2, 12), 20)
    kinds = questions(240, a_document=20, kind=lambda i: "a" if i < 120 else "b")
    ours = list(np.clip(0.5 + luck, 0, 1))
    found = of(sliced(kinds, scored({"base": [0.5] * 240, "tuned_both": ours})), "kind")
    assert found["a"].documents == 6
    assert [row.decision for row in found.values()] == ["cannot tell"] * 2


def test_chance_is_rarely_called_a_harm() -> None:
    """Over all slices of all dimensions together, on arms that differ by noise alone."""
    asked = questions(90, kind=lambda i: "abc"[i % 3])
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        columns = {arm: list(rng.uniform(0, 1, 90)) for arm in ("base", "tuned_both")}
        alarms += any(row.decision != "cannot tell" for row in sliced(asked, scored(columns), seed).rows)
    assert alarms <= 8  # 5% of 60 are 3; more than 8 come up once in 200 times


def test_many_slices_are_still_decided_with_few_resamples() -> None:
    asked = questions(300, kind=lambda i: f"kind {i % 10}")
    columns = {"base": [0.6] * 300, "tuned_both": [0.1 + (i % 7) / 100 for i in range(300)]}
    found = of(sliced(asked, scored(columns)), "kind")
    assert {row.decision for row in found.values()} == {"worse"}, "200 flips give no p below 1/201"


def test_an_arm_that_is_the_base_gets_a_note_and_no_rows() -> None:
    asked = questions(30, kind=lambda i: "a" if i % 2 else "b")
    found = sliced(asked, scored({"base": [0.5] * 30, "tuned_both": [0.5] * 30}))
    assert found.rows == []
    assert "tuned_both has the nDCG@10 of base on every question" in [note.note for note in found.notes]


def test_what_cannot_part_the_questions_is_said() -> None:
    found = sliced(questions(30), scored({"base": [0.5] * 30, "tuned_both": [0.4] * 30}))
    assert of(found, "kind") == {}
    notes = {note.dimension: note.note for note in found.notes}
    assert notes["kind"] == "no slices by kind: all questions are of one slice, 'a'"
    assert notes["difficulty"] == "no slices by difficulty: what it takes is not there"


def test_an_arm_that_was_not_scored_is_left_out() -> None:
    asked = questions(30, kind=lambda i: "a" if i % 2 else "b")
    arms = [TUNED, arm_named("tuned_hybrid"), arm_named("base")]
    columns: dict[str, list[float | None]] = {"base": [0.5] * 30, "tuned_both": [0.4] * 30, "tuned_hybrid": [None] * 30}
    found = sliced(asked, scored(columns), arms=arms, metrics=[METRIC, "answer_length"])
    assert {(row.arm, row.metric) for row in found.rows} == {("tuned_both", METRIC)}


def test_the_same_scores_in_any_order_give_the_same_slices() -> None:
    asked = questions(60, kind=lambda i: "a" if i % 2 else "b")
    rng = random.Random(5)
    scores = scored({arm: [rng.random() for _ in range(60)] for arm in ("base", "tuned_both")})
    assert sliced(asked, scores).rows == sliced(asked[::-1], scores[::-1]).rows
