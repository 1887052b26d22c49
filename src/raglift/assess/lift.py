"""Assertions on what was measured, for pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from raglift.assess.evaluation import Evaluation
from raglift.assess.sheets import CHOSEN, Sheet, open_sheets
from raglift.assess.tables import Scores, aligned, lower_is_better, no_worse
from raglift.errors import UserError
from raglift.evaluation.arms import BASE
from raglift.evaluation.inference import NonInferiority
from raglift.evaluation.scale import scale_of
from raglift.evaluation.summary import verdicts
from raglift.plugins import nearest
from raglift.records import Verdict
from raglift.release.choose import judging_set
from raglift.serve.result import RunResult


def assert_lift(
    found: Evaluation | RunResult | str | Path,
    metric: str,
    at_least: float | None = None,
    *,
    arm: str | None = None,
    against: str | None = None,
    decision: Literal["better", "not worse"] = "better",
    question_set: str | None = None,
) -> Verdict | NonInferiority:
    """Raise where an arm's lift was not measured.

    With "better", the arm is better by the rule of the report (the interval excludes 0 and Holm's corrected p is at
    most 0.05), and by `at_least` on the mean. With "not worse", `at_least` is the largest loss that does not matter as
    a negative number, such as -0.02, above which the whole interval must lie. A gain is positive also where less is
    better.

    Args:
        found: What `raglift.evaluate` gave, a finished run or its name, or a folder of an evaluation.
        metric: Such as "nDCG@10".
        at_least: The least gain (0 by default), or with "not worse" the greatest loss, which has to be given.
        arm: The arm whose lift it is: of a run the one that would be released, of an evaluation its last engine.
        against: What it is held against: of a run "base", of an evaluation its first engine.
        question_set: Of a run: people's questions where it has some.

    Returns:
        What was measured.

    Raises:
        AssertionError: The lift was not measured; the message says what was.
        UserError: There is no such arm, metric, set or run, or `at_least` says nothing.

    Example:
        >>> def test_the_new_index_is_better() -> None:
        ...     raglift.assert_lift(raglift.evaluate({"old": old, "new": new}, questions), "nDCG@10", at_least=0.01)
    """
    if decision == "not worse" and (at_least is None or at_least >= 0):
        raise UserError(
            "at_least is missing." if at_least is None else f"at_least={at_least} is no loss.",
            "Being no worse is always meant up to the largest loss that does not matter.",
            "Give it as a negative number, such as at_least=-0.02.",
        )
    if decision not in ("better", "not worse"):
        raise UserError(f"There is no decision {decision!r}.", fix='Ask for "better" or "not worse".')
    scores, arm = _scores(found, arm, against, question_set)
    _check_metric(scores, arm, metric)
    if decision == "not worse":
        return _not_worse(scores, arm, metric, -(at_least or 0.0))
    return _better(scores, arm, metric, at_least or 0.0)


def _better(scores: Scores, arm: str, metric: str, at_least: float) -> Verdict:
    families = {arm: scores.families[arm]}
    judged = verdicts(scores.values, scores.question_set, scores.against, families, scores.resampling)
    verdict = next(each for each in judged if each.metric == metric)
    gain = -verdict.delta if lower_is_better(metric) else verdict.delta
    if verdict.decision != "better" or gain < at_least:
        wanted = (
            f"better than {scores.against} by at least {at_least:g}" if at_least else f"better than {scores.against}"
        )
        row = [verdict.metric, verdict.arm, verdict.against, f"{verdict.delta:+.4f}", f"{verdict.ci_low:+.4f}"]
        row += [
            f"{verdict.ci_high:+.4f}",
            f"{verdict.p:.4f}",
            f"{verdict.detectable:.4f}",
            str(verdict.n),
            verdict.decision,
        ]
        columns = ["metric", "arm", "against", "delta", "ci_low", "ci_high", "p", "detectable", "n", "decision"]
        raise AssertionError(f"{arm} was not measured to be {wanted} on {metric}:\n{aligned(columns, [row])}")
    return verdict


def _not_worse(scores: Scores, arm: str, metric: str, margin: float) -> NonInferiority:
    ours, theirs = scores.column(arm, metric), scores.column(scores.against, metric)
    shown = no_worse(ours, theirs, metric, margin, scores.resampling)
    if shown.decision != "not worse":
        row = [metric, arm, scores.against, f"{shown.delta:+.4f}", f"{shown.ci_low:+.4f}", f"{shown.ci_high:+.4f}"]
        row += [f"{shown.margin:g}", f"{shown.p:.4f}", str(shown.n), shown.decision]
        columns = ["metric", "arm", "against", "gain", "ci_low", "ci_high", "margin", "p", "n", "decision"]
        raise AssertionError(
            f"{arm} was not measured to be no worse than {scores.against} by more than {margin:g} on {metric}:\n"
            f"{aligned(columns, [row])}"
        )
    return shown


def _scores(
    found: Evaluation | RunResult | str | Path, arm: str | None, against: str | None, question_set: str | None
) -> tuple[Scores, str]:
    """The scores with the arm that the lift is against, and the arm whose it is."""
    if isinstance(found, Evaluation):
        scores, arms = found.scores, list(found.scores.families)
        ours, theirs = arm or arms[-1], against or arms[0]
    else:
        sheet, name = _sheet(open_sheets(found), question_set)
        arms = list(sheet.families)
        theirs = against or (BASE if BASE in arms else arms[0])
        scores, ours = sheet.as_scores(name, theirs), arm or sheet.arm(CHOSEN)
    for each in (ours, theirs):
        if each not in arms:
            raise UserError(f"There is no arm called {each!r}.", nearest(each, arms))
    if ours == theirs:
        raise UserError(
            f"{ours!r} would be held against itself.", f"The arms are: {', '.join(arms)}.", "Name `arm` or `against`."
        )
    return Scores(scores.question_set, scores.values, scores.families, theirs, scores.resampling), ours


def _sheet(sheets: dict[str, Sheet], question_set: str | None) -> tuple[Sheet, str]:
    name = question_set or judging_set({key: {"origin": sheet.origin} for key, sheet in sheets.items()}) or ""
    if name not in sheets:
        raise UserError(f"There is no question set {name!r}.", nearest(name, list(sheets)))
    return sheets[name], name


def _check_metric(scores: Scores, arm: str, metric: str) -> None:
    measured = [name for names in scores.families[arm].values() for name in names if scale_of(name).judged]
    both = {name for names in scores.families[scores.against].values() for name in names}
    if metric not in measured or metric not in both:
        known = [name for name in measured if name in both]
        where = f"{arm!r} and {scores.against!r}"
        raise UserError(f"{metric!r} was not measured for both {where}.", nearest(metric, known) if known else "")
