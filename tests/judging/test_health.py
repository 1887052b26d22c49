"""A judge is believed after its test, and its figures are corrected for what the test showed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from raglift.evaluation.rates import wilson
from raglift.evaluation.statistics import Comparison, Resampling, compare
from raglift.judging.correction import correct, correct_difference, design_effect
from raglift.judging.health import Health, examine, health_of, refuse
from raglift.judging.items import Example, Item
from raglift.judging.judge import Judge, Judgement
from raglift.judging.questions.correctness import Correctness
from raglift.judging.questions.pairwise import Pairwise
from tests.judging.judges import ScriptedLLM, chance, erring, known_items, part, right_answers

KNOWN = known_items(300)
EXAMPLES = Correctness().examples(KNOWN, 100, seed=0)


def health(sensitivity: float, specificity: float, n: int, rng: random.Random) -> Health:
    """The test of a judge of these rates on `n` right and `n` wrong answers."""
    examples = [Example(Item("", "", ""), good) for good in [True] * n + [False] * n]
    said = [
        Judgement(float((rng.random() < (sensitivity if example.good else specificity)) == example.good))
        for example in examples
    ]
    return health_of(examples, said)


def test_a_perfect_judge_is_believed_and_changes_nothing() -> None:
    judge = Judge(ScriptedLLM(erring(right_answers(KNOWN), 1, 1)))
    found = examine(judge, Correctness(), EXAMPLES)
    assert found.believed
    assert (found.youden, found.balanced_accuracy, found.unparsed) == (1, 1, 0)
    values = {str(number): float(number < 60) for number in range(100)}
    corrected = correct(values, {}, found)
    assert corrected.observed == corrected.value == 0.6
    assert corrected.ci_low is not None
    assert corrected.ci_high is not None
    plain = binomtest(60, 100).proportion_ci(method="wilson")
    assert corrected.ci_low == pytest.approx(plain.low, abs=0.03)
    assert corrected.ci_high == pytest.approx(plain.high, abs=0.03)
    difference = Comparison(0.2, 0.1, 0.3, 0.01, 0.1, 100, 100)
    stretched = correct_difference(difference, found)
    assert (stretched.value, stretched.p) == (0.2, 0.01)
    assert stretched.ci_low == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    "reply",
    [
        lambda prompt: "Yes" if chance(prompt) < 0.5 else "No",
        lambda prompt: "Yes" if chance(prompt) < 0.9 else "No",
        lambda prompt: "Yes",
        lambda prompt: "No",
    ],
    ids=["coin", "biased coin", "always yes", "always no"],
)
def test_a_judge_that_does_not_look_is_refused_with_the_figures(reply: object) -> None:
    judge = Judge(ScriptedLLM(reply))  # type: ignore[arg-type]
    found = examine(judge, Correctness(), EXAMPLES)
    assert not found.believed
    assert found.youden_low <= 0 <= found.youden_high
    assert "not told from chance" in found.refused
    assert f"{found.sensitivity.hits:g}/100" in found.refused
    error = refuse(judge, "correctness", found)
    assert "The judge scripted is refused for correctness" in str(error)
    assert found.refused in str(error)


def test_a_judge_that_takes_right_for_wrong_is_refused_too() -> None:
    found = examine(Judge(ScriptedLLM(erring(right_answers(KNOWN), 0.1, 0.1))), Correctness(), EXAMPLES)
    assert found.youden < -0.5
    assert not found.believed


def test_a_floor_refuses_a_judge_that_chance_does_not() -> None:
    judge = Judge(ScriptedLLM(erring(right_answers(KNOWN), 0.8, 0.8)))
    assert examine(judge, Correctness(), EXAMPLES).believed
    refused = examine(judge, Correctness(), EXAMPLES, floor=0.6)
    assert "the floor of 0.6" in refused.refused


def test_a_judge_without_labels_is_refused_with_what_it_said() -> None:
    found = examine(Judge(ScriptedLLM(lambda prompt: "I would say yes")), Correctness(), EXAMPLES)
    assert "no label on 200 of 200" in found.refused
    assert "I would say yes" in found.refused
    assert "no known answers" in examine(Judge(ScriptedLLM(lambda p: "Yes")), Correctness(), []).refused


def test_a_test_of_one_side_is_none() -> None:
    right = [example for example in EXAMPLES if example.good]
    found = examine(Judge(ScriptedLLM(lambda prompt: "Yes")), Correctness(), right)
    assert "needs both" in found.refused


def test_the_test_tells_which_errors_are_not_seen() -> None:
    truth = right_answers(KNOWN)

    def blind_to_numbers(prompt: str) -> str:
        towns = part(prompt, "question").split()[6] in part(prompt, "answer").split()
        return "Yes" if truth(prompt) or (towns and " not " not in part(prompt, "answer")) else "No"

    found = examine(Judge(ScriptedLLM(blind_to_numbers)), Correctness(), EXAMPLES)
    assert found.by_corruption["number"].value == 0
    assert found.by_corruption["negation"].value == found.by_corruption["wrong_answer"].value == 1


def test_known_rates_are_found() -> None:
    found = examine(Judge(ScriptedLLM(erring(right_answers(KNOWN), 0.9, 0.75))), Correctness(), EXAMPLES)
    for rate, known in ((found.sensitivity, 0.9), (found.specificity, 0.75)):
        assert rate.n == 100
        assert abs(rate.value - known) < 3 * (known * (1 - known) / rate.n) ** 0.5


def test_a_judge_of_pairs_who_looks_at_the_place_alone_is_refused() -> None:
    examples = Pairwise().examples(KNOWN, 50, seed=0)
    found = examine(Judge(ScriptedLLM(lambda prompt: "A")), Pairwise(), examples)
    assert (found.sensitivity.value, found.specificity.value) == (0.5, 0.5)
    assert not found.believed


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "share", "n", "tests"),
    [(0.85, 0.8, 0.6, 200, 100), (0.95, 0.9, 0.1, 100, 50), (0.7, 0.7, 0.5, 200, 100), (0.9, 0.6, 0.3, 60, 40)],
)
def test_the_corrected_interval_covers_the_truth_and_the_plain_one_does_not(
    sensitivity: float, specificity: float, share: float, n: int, tests: int
) -> None:
    rng, times = random.Random(7), 1000
    covered = plain = believed = 0
    total = 0.0
    for _ in range(times):
        found = health(sensitivity, specificity, tests, rng)
        if not found.believed:
            continue
        believed += 1
        rate = share * sensitivity + (1 - share) * (1 - specificity)
        values = {str(number): float(rng.random() < rate) for number in range(n)}
        corrected = correct(values, {}, found)
        assert corrected.ci_low is not None
        assert corrected.ci_high is not None
        assert corrected.value is not None
        covered += corrected.ci_low <= share <= corrected.ci_high
        total += corrected.value
        observed = wilson(sum(values.values()), n)
        plain += observed.low <= share <= observed.high
    assert believed > 0.95 * times
    assert 0.935 <= covered / believed <= 0.985
    assert abs(total / believed - share) < 0.02
    if abs(sensitivity * share + (1 - share) * (1 - specificity) - share) > 0.05:
        assert plain / believed < 0.8


def test_the_corrected_interval_covers_the_truth_where_documents_share_their_difficulty() -> None:
    rng, covered, unclustered, times = random.Random(3), 0, 0, 400
    for _ in range(times):
        found, values, cluster = health(0.9, 0.85, 100, rng), {}, {}
        for document in range(40):
            right = rng.random() < 0.5  # every question of a document shares its fate
            for number in range(5):
                name = f"{document}.{number}"
                values[name] = float(rng.random() < (0.9 if right else 0.15))
                cluster[name] = str(document)
        held, loose = correct(values, cluster, found), correct(values, {}, found)
        covered += (held.ci_low or 0) <= 0.5 <= (held.ci_high or 0)
        unclustered += (loose.ci_low or 0) <= 0.5 <= (loose.ci_high or 0)
    assert covered / times > 0.92
    assert unclustered / times < 0.85


def test_the_corrected_difference_covers_the_true_one() -> None:
    rng, covered, times = random.Random(11), 0, 400
    for _ in range(times):
        found = health(0.85, 0.8, 100, rng)
        said: list[dict[str, float]] = [{}, {}]
        for number in range(150):
            for arm, share in enumerate((0.7, 0.4)):
                right = rng.random() < share
                said[arm][str(number)] = float(rng.random() < (0.85 if right else 0.2))
        got = correct_difference(compare(*said, Resampling(resamples=200)), found)
        covered += got.ci_low <= 0.3 <= got.ci_high
        assert got.p < 1
    assert 0.92 <= covered / times <= 0.99


def test_a_difference_is_no_surer_than_the_test_of_the_judge() -> None:
    comparison = Comparison(0.3, 0.2999, 0.3001, 0.001, 0.01, 10**6, 10**6)
    few, many = (health(0.8, 0.8, n, random.Random(1)) for n in (30, 3000))
    wide, narrow = correct_difference(comparison, few), correct_difference(comparison, many)
    assert narrow.ci_high - narrow.ci_low == pytest.approx(0.3 / 0.36 * 1.96 * 2 * (2 * 0.16 / 3000) ** 0.5, rel=0.1)
    assert wide.ci_high - wide.ci_low > 5 * (narrow.ci_high - narrow.ci_low)


def test_questions_of_one_document_count_for_less() -> None:
    values = {str(number): float(number < 10) for number in range(20)}
    alone = design_effect(values, {})
    together = design_effect(values, {str(number): str(number // 5) for number in range(20)})
    assert alone == pytest.approx(20 / 19)
    assert together == pytest.approx(5 * 4 / 3)
    assert design_effect({"a": 1.0, "b": 1.0}, {}) == 1


def test_nothing_judged_is_no_figure() -> None:
    corrected = correct({}, {}, health(0.9, 0.9, 50, random.Random(0)))
    assert (corrected.value, corrected.ci_low, corrected.n) == (None, None, 0)


@given(st.floats(0.55, 1), st.floats(0.55, 1), st.floats(0, 1), st.integers(0, 10**6))
def test_a_corrected_share_is_a_share_within_its_interval(se: float, sp: float, share: float, seed: int) -> None:
    rng = random.Random(seed)
    found = health(se, sp, 30, rng)
    if not found.believed:
        return
    corrected = correct({str(number): float(rng.random() < share) for number in range(40)}, {}, found)
    assert corrected.ci_low is not None
    assert corrected.ci_high is not None
    assert corrected.value is not None
    assert 0 <= corrected.ci_low <= corrected.value <= corrected.ci_high <= 1
