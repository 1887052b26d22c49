"""What a tuned model is said to have forgotten, of scores whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raglift.errors import UserError
from raglift.evaluation.retention import NOTHING_SCORED, TOO_LITTLE, Retained, check_margin, retained
from raglift.evaluation.statistics import Resampling
from raglift.records import Score

Values = Sequence[float | None]


def figure(base: Values, tuned: Values, metric: str = "right", margin: float = 0.05) -> Retained:
    scores = [
        Score(metric, f"q{n}", arm, value)
        for arm, values in (("base", base), ("tuned", tuned))
        for n, value in enumerate(values)
    ]
    (found,) = retained(scores, "probe", [metric], margin, Resampling())
    return found


def test_equal_scores_are_no_worse_by_exactly_nothing() -> None:
    for metric, values in (("right", [1.0, 0.0] * 20), ("loss", [3.0 + n / 7 for n in range(40)])):
        found = figure(values, values, metric)
        assert (found.gain, found.ci_low, found.ci_high, found.p) == (0.0, 0.0, 0.0, 1.0)
        assert (found.decision, found.n, found.coverage) == ("no worse", 40, 1.0)


def test_what_half_of_the_questions_lose_is_forgotten() -> None:
    found = figure([1.0] * 40, [1.0, 0.0] * 20)
    assert (found.base, found.tuned, found.gain) == (1.0, 0.5, -0.5)
    assert found.ci_high is not None
    assert found.ci_high < 0
    assert found.decision == "forgot"


def test_a_higher_loss_is_a_loss_and_a_lower_one_a_gain() -> None:
    base = [3.0 + n / 50 for n in range(40)]
    worse = figure(base, [value + 0.3 + n % 3 / 50 for n, value in enumerate(base)], "loss")
    assert worse.better == "lower"
    assert worse.gain == pytest.approx(-0.32, abs=0.01)
    assert worse.decision == "forgot"
    better = figure(base, [value - 2.0 for value in base], "loss")
    assert better.gain == pytest.approx(2.0)  # a difference of a loss may be larger than 1
    assert better.ci_high == pytest.approx(2.0)
    assert better.decision == "no worse"


def test_a_certain_loss_within_the_margin_is_no_worse() -> None:
    base = [3.0 + n / 50 for n in range(40)]
    found = figure(base, [value + 0.01 for value in base], "loss")
    assert found.ci_high is not None
    assert found.ci_high < 0
    assert found.decision == "no worse"
    assert figure(base, [value + 0.01 for value in base], "loss", margin=0.005).decision == "forgot"


def test_few_questions_cannot_tell() -> None:
    found = figure([1.0] * 10, [1.0] * 9 + [0.0])
    assert found.decision == "cannot tell"
    assert figure([1.0], [0.0]).decision == "cannot tell"
    assert figure([3.0], [9.0], "loss").ci_low is None  # nothing bounds it


def test_a_base_that_knows_next_to_nothing_shows_nothing() -> None:
    found = figure([1.0] * 2 + [0.0] * 58, [1.0] * 2 + [0.0] * 58)
    assert (found.decision, found.why) == ("cannot tell", TOO_LITTLE)
    assert figure([1.0] * 20 + [0.0] * 40, [1.0] * 20 + [0.0] * 40).decision == "no worse"


def test_what_was_not_scored_is_left_out_and_counted() -> None:
    found = figure([1.0] * 40, [None] * 10 + [1.0] * 30)
    assert (found.n, found.coverage, found.base) == (30, 0.75, 1.0)
    nothing = figure([1.0] * 4, [None] * 4)
    assert (nothing.decision, nothing.why, nothing.base, nothing.coverage) == (
        *("cannot tell", NOTHING_SCORED),
        None,
        0.0,
    )


def test_p_is_corrected_over_the_figures_of_a_model() -> None:
    scores = [
        Score(metric, f"q{n}", arm, 1.0 if arm == "base" or n % 10 else 0.0)
        for metric in ("right", "token_f1")
        for arm in ("base", "tuned")
        for n in range(60)
    ]
    both = retained(scores, "probe", ["right", "token_f1"], 0.05, Resampling())
    (alone,) = retained(scores, "probe", ["right"], 0.05, Resampling())
    assert [each.p for each in both] == [pytest.approx(2 * alone.p)] * 2


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, float("nan"), float("inf")])
def test_a_margin_that_decides_nothing_is_refused(margin: float) -> None:
    with pytest.raises(UserError, match="decides nothing"):
        check_margin(margin)
