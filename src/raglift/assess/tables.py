"""Scores of several arms turned into what report.json holds, and into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raglift.errors import UserError
from raglift.evaluation.inference import NonInferiority, noninferiority, questions_needed
from raglift.evaluation.scale import scale_of
from raglift.evaluation.statistics import Resampling
from raglift.evaluation.summary import Cell, table, verdicts
from raglift.progress import Bar
from raglift.records import Score

_ALPHA = 0.05

Families = Mapping[str, Mapping[str, Sequence[str]]]
"""Arm -> "retrieval" or "response" -> metrics that it is judged on."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One question set's scores, and what it takes to compare their arms.

    Attributes:
        values: One score a metric, question and arm; arms stand in the order of their first.
        against: The arm that the others are held against.
    """

    question_set: str
    values: tuple[Score, ...]
    families: Families
    against: str
    resampling: Resampling

    def column(self, arm: str, metric: str) -> dict[str, float]:
        """Question id -> value, of the questions that have one."""
        return {
            score.qa_id: score.value
            for score in self.values
            if score.arm == arm and score.metric == metric and score.value is not None
        }


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better."""
    return scale_of(metric).better == "lower"


def summary_of(scores: Scores, bar: Bar | None = None) -> dict[str, Any]:
    """`retrieval`, `response`, `verdicts` as report.json has them, and `needed`.

    `needed` names each difference that cannot be told with the number of questions that would show it, were it true, as
    the one of its family's metrics that Holm's correction is hardest on.
    """
    advance = (lambda _: None) if bar is None else bar.advance
    metrics = {family: _metrics(scores.families, family) for family in ("retrieval", "response")}
    about = (scores.question_set, scores.against, scores.families, scores.resampling)
    found = verdicts(scores.values, *about, advance=advance)
    tables: dict[str, dict[str, dict[str, dict[str, Cell]]]] = {}
    for family, names in metrics.items():
        rows = table(scores.values, names, scores.resampling, advance)
        measured = {arm: cells for arm, cells in rows.items() if cells}
        tables[family] = {scores.question_set: measured} if measured else {}
    unsure = [verdict for verdict in found if verdict.decision == "cannot tell" and verdict.delta]
    return {
        **tables,
        "verdicts": [asdict(verdict) for verdict in found],
        "needed": [row for verdict in unsure if (row := _needed(scores, verdict.arm, verdict.metric)) is not None],
    }


def count(families: Families, against: str) -> int:
    """How often `summary_of` advances its bar."""
    per_arm = {arm: sum(map(len, metrics.values())) for arm, metrics in families.items()}
    return 2 * sum(per_arm.values()) - per_arm.get(against, 0)


def noninferiority_rows(scores: Scores, margin: float) -> list[dict[str, Any]]:
    """Whether each arm is no worse than the one it is held against, metric by metric.

    Raises:
        UserError: The margin says nothing.
    """
    rows = []
    for arm, families in scores.families.items():
        for metric in () if arm == scores.against else (name for names in families.values() for name in names):
            ours, theirs = scores.column(arm, metric), scores.column(scores.against, metric)
            if ours and theirs and scale_of(metric).judged:
                found = no_worse(ours, theirs, metric, margin, scores.resampling)
                about = {"question_set": scores.question_set, "metric": metric, "arm": arm, "against": scores.against}
                rows.append(about | asdict(found))
    return rows


def no_worse(
    ours: Mapping[str, float], theirs: Mapping[str, float], metric: str, margin: float, resampling: Resampling
) -> NonInferiority:
    """`noninferiority` on the metric's own scale."""
    better, span = not lower_is_better(metric), scale_of(metric).span
    return noninferiority(ours, theirs, margin, resampling, higher_is_better=better, span=span)


def _metrics(families: Families, family: str) -> list[str]:
    return list(dict.fromkeys(name for metrics in families.values() for name in metrics.get(family, ())))


def _needed(scores: Scores, arm: str, metric: str) -> dict[str, Any] | None:
    family = next(names for names in scores.families[arm].values() if metric in names)
    tested = sum(scale_of(name).judged for name in family)
    ours, theirs = scores.column(arm, metric), scores.column(scores.against, metric)
    try:
        found = questions_needed(ours, theirs, scores.resampling, alpha=_ALPHA / tested)
    except UserError:  # one document, of whose spread nothing is known
        return None
    about = {"question_set": scores.question_set, "metric": metric, "arm": arm, "against": scores.against}
    return about | {"difference": found.difference, "questions": found.questions, "documents": found.clusters}


def as_text(summary: Mapping[str, Any]) -> str:
    """The tables of `summary_of` as plain text."""
    parts = []
    for family in ("retrieval", "response"):
        for name, arms in summary[family].items():
            metrics = list(dict.fromkeys(metric for cells in arms.values() for metric in cells))
            if metrics:
                rows = [[arm, *(_cell(cells.get(metric)) for metric in metrics)] for arm, cells in arms.items()]
                parts.append(f"{family}, {name} [95% interval]\n" + aligned(["arm", *metrics], rows))
    columns = ["metric", "arm", "against", "delta", "95% interval", "p", "n", "decision"]
    if summary["verdicts"]:
        parts.append("differences\n" + aligned(columns, [_verdict(row, columns) for row in summary["verdicts"]]))
    return "\n\n".join(parts)


def _cell(cell: Cell | None) -> str:
    if cell is None or cell["value"] is None:
        return "" if cell is None else "none scored"
    share = "" if cell["coverage"] == 1 else f" ({cell['coverage']:.0%} scored)"
    low, high = ("?" if end is None else f"{end:.3f}" for end in (cell["ci_low"], cell["ci_high"]))
    return f"{cell['value']:.3f} [{low} {high}]{share}"


def _verdict(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    interval = f"{row['ci_low']:+.3f} {row['ci_high']:+.3f}"
    shown = {**row, "delta": f"{row['delta']:+.3f}", "95% interval": interval, "p": f"{row['p']:.3f}"}
    return [str(shown[column]) for column in columns]


def aligned(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells under column names, two spaces apart."""
    lines = [list(map(str, columns)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
