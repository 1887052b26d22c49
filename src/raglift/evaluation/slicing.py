"""Where an arm gains and where it hurts: its difference to another one, slice by slice of a question set.

Everything is computed from scores that are there; no model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Literal, TypeAlias

from raglift import plugins
from raglift.evaluation.arms import Arm
from raglift.evaluation.scale import Scale, scale_of
from raglift.evaluation.slices._base import Dimension, Facts
from raglift.evaluation.statistics import Comparison, Resampling, compare, decide, holm
from raglift.records import Score

LEAST = 10
"""Questions that a slice must have to be judged."""
FEWEST_CLUSTERS = 6
"""Documents, or questions where the slice is one document, that it must have: with 5 of them the smallest p of a
sign-flip test is 2 / 2**5 = 0.06, so that no difference however large could be told from chance."""
_ALPHA = 0.05

Columns: TypeAlias = Mapping[str, Mapping[str, float]]
"""Arm -> question id -> value."""
SliceDecision: TypeAlias = Literal["better", "worse", "cannot tell", "not judged"]


@dataclass(frozen=True, slots=True)
class Slice:
    """One arm minus another on one metric over the questions of one slice.

    Attributes:
        questions: In the slice.
        n: Of these, the ones that both arms have a value for.
        documents: That these are about.
        delta: The mean difference; None over no question.
        ci_low, ci_high: Its 95% interval; None where the slice is not judged.
        p: Corrected by Holm's method over all slices of all dimensions that are judged of this question set, arm and
            metric; None where the slice is not judged.
        why: Why it is not judged.
    """

    question_set: str
    arm: str
    against: str
    metric: str
    dimension: str
    slice: str
    questions: int
    n: int
    documents: int
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    decision: SliceDecision
    why: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Why something is not among the slices; `arm`, `metric` and `dimension` are empty where it is about all."""

    question_set: str
    note: str
    arm: str = ""
    metric: str = ""
    dimension: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be held against what.

    Attributes:
        arms: Those that are looked at.
        against: The arm that they are held against.
        metrics: Names, in the order of the result; those that are not judged (`Scale.judged`) are left out.
        least: Questions that a slice must have to be judged.
    """

    arms: Sequence[Arm]
    against: str
    metrics: Sequence[str]
    least: int = LEAST


@dataclass(slots=True)
class Sliced:
    """What came of it."""

    rows: list[Slice] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A question set by one dimension: slice -> its questions."""

    dimension: Dimension
    members: Mapping[str, Sequence[str]]


def dimensions() -> dict[str, Dimension]:
    """Every dimension by its name."""
    return {name: plugins.load("slice dimension", name) for name in plugins.names("slice dimension")}


def slice_set(
    question_set: str,
    facts: Facts,
    scores: Sequence[Score],
    asked: Asked,
    resampling: Resampling,
    advance: Callable[[int], None] = lambda _: None,
) -> Sliced:
    """Every arm's difference by slice, harms first (`harms_first`), over the questions that both arms have a value for.

    Intervals and p-values are those of `statistics.compare`, clustered by document; in a slice that is one document
    each question is a cluster. p is corrected over all slices of all dimensions of an arm and metric together: who
    asks where tuning hurt looks through all of them, and which of them are judged depends on numbers of questions and
    documents alone. A slice is "worse" where its own difference is certainly a loss; that it loses more than other
    slices is not tested.

    Args:
        scores: Of the question set, values within the scales of their metrics.
        resampling: `resamples` is raised where the correction could not be passed with so few.
        advance: Told how many more pairs of arm and metric are done.
    """
    found = Sliced()
    cuts = _cuts(question_set, facts, asked, found.notes)
    for metric in asked.metrics:
        columns = _columns(scores, metric)
        for arm in asked.arms:
            ours, theirs = columns.get(arm.name, {}), columns.get(asked.against, {})
            common = ours.keys() & theirs.keys()
            if not scale_of(metric).judged or not common or arm.name == asked.against:
                pass
            elif all(ours[qa_id] == theirs[qa_id] for qa_id in common):
                same = f"{arm.name} has the {metric} of {asked.against} on every question"
                found.notes.append(Note(question_set, same, arm.name, metric))
            else:
                fitting = [cut for cut in cuts if not cut.dimension.not_for(arm)]
                about = (question_set, arm.name, asked.against, metric)
                found.rows += _rows(about, fitting, ours, theirs, resampling, asked.least)
            advance(1)
    found.rows = harms_first(found.rows)
    return found


def harms_first(rows: Sequence[Slice]) -> list[Slice]:
    """Certain harms, then the others that are judged, then those that are not, each from the greatest loss on."""

    def key(row: Slice) -> tuple[int, float, int, str, str]:
        group = {"worse": 0, "not judged": 2}.get(row.decision, 1)
        return group, _gain(row), -row.n, row.dimension, row.slice

    return sorted(rows, key=key)


def _gain(row: Slice) -> float:
    """The difference, positive where it is a gain."""
    return (row.delta or 0.0) * (1 if scale_of(row.metric).better == "higher" else -1)


def _columns(scores: Sequence[Score], metric: str) -> Columns:
    columns: dict[str, dict[str, float]] = {}
    for score in scores:
        if score.metric == metric and score.value is not None:
            columns.setdefault(score.arm, {})[score.qa_id] = score.value
    return columns


def _cuts(question_set: str, facts: Facts, asked: Asked, notes: list[Note]) -> list[_Cut]:
    """The question set by every dimension that parts it at all."""
    cuts = []
    for name, dimension in dimensions().items():
        members: dict[str, list[str]] = {}
        for qa_id, own in dimension.slices(facts).items():
            members.setdefault(own, []).append(qa_id)
        if len(members) < 2:
            only = (
                f"all questions are of one slice, {next(iter(members))!r}" if members else "what it takes is not there"
            )
            notes.append(Note(question_set, f"no slices by {name}: {only}", dimension=name))
            continue
        for arm in asked.arms:
            if why := dimension.not_for(arm):
                notes.append(Note(question_set, f"no slices of {arm.name} by {name}: {why}", arm.name, dimension=name))
        cuts.append(_Cut(dimension, members))
    return cuts


def _rows(
    about: tuple[str, str, str, str],
    cuts: Sequence[_Cut],
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    resampling: Resampling,
    least: int,
) -> list[Slice]:
    """The slices of one arm and metric, in the order of the dimensions."""
    scale, metric = scale_of(about[-1]), about[-1]
    parts = []
    for cut in cuts:
        for name, members in cut.members.items():
            common = [qa_id for qa_id in members if qa_id in ours and qa_id in theirs]
            parts.append((cut.dimension, name, len(members), common))
    why = [_why_not(dimension, common, resampling, least) for dimension, _, _, common in parts]
    judged = sum(not each for each in why)
    # A random p is at least 1 / (resamples + 1), which after the correction must be able to pass.
    enough = replace(resampling, resamples=max(resampling.resamples, 2 * judged * round(1 / _ALPHA)))
    compared = [
        None if reason else _compared(dimension, common, ours, theirs, enough, scale)
        for (dimension, _, _, common), reason in zip(parts, why, strict=True)
    ]
    adjusted = iter(holm([each.p for each in compared if each is not None]))
    rows = []
    for (dimension, name, questions, common), reason, each in zip(parts, why, compared, strict=True):
        counts = (questions, len(common), _documents(common, resampling))
        start = (*about, dimension.name, name, *counts)
        if each is None:
            delta = fsum(ours[qa_id] - theirs[qa_id] for qa_id in common) / len(common) if common else None
            rows.append(Slice(*start, delta, None, None, None, "not judged", reason))
            continue
        p = next(adjusted)
        higher = scale_of(metric).better == "higher"
        decision = decide(each.ci_low, each.ci_high, p, alpha=_ALPHA, higher_is_better=higher)
        rows.append(Slice(*start, each.delta, each.ci_low, each.ci_high, p, decision))
    return rows


def _documents(members: Sequence[str], resampling: Resampling) -> int:
    """How many clusters there are; a question about no document is one of its own."""
    return len({(qa_id in resampling.cluster, resampling.cluster.get(qa_id, qa_id)) for qa_id in members})


def _by_question(dimension: Dimension, members: Sequence[str], resampling: Resampling) -> bool:
    """Whether the slice is one document, whose questions are what was sampled."""
    return dimension.within_documents and _documents(members, resampling) == 1


def _why_not(dimension: Dimension, members: Sequence[str], resampling: Resampling, least: int) -> str:
    """Why a slice is not judged; empty where it is."""
    if len(members) < least:
        return f"fewer than {least} questions"
    if _by_question(dimension, members, resampling):
        return "" if len(members) >= FEWEST_CLUSTERS else f"fewer than {FEWEST_CLUSTERS} questions"
    few = _documents(members, resampling) < FEWEST_CLUSTERS
    return f"about fewer than {FEWEST_CLUSTERS} documents" if few else ""


def _compared(
    dimension: Dimension,
    members: Sequence[str],
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    resampling: Resampling,
    scale: Scale,
) -> Comparison:
    if _by_question(dimension, members, resampling):
        resampling = replace(resampling, cluster={})
    a, b = ({qa_id: values[qa_id] for qa_id in members} for values in (ours, theirs))
    return compare(a, b, resampling, span=scale.span)
