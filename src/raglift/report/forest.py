"""The forest plot: one row an (arm, metric), its difference, interval, zero line and detectable effect.

A row is one small SVG whose horizontal positions are percentages, so it fills any width from a phone to a printed
page without scaling its text or distorting its markers. The rows of a panel share one axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

ROW_HEIGHT = 26
"""Height of a row, CSS pixels."""

_MARGIN = 3.0  # percent kept free on each side, so that a marker at the end of the axis is not cut
_CLIP = 2.5  # an interval is drawn up to this multiple of the largest effect; beyond it, an arrow says "goes on"

_MARKERS = {
    "better": ("better", "M0,-6 L6,5 L-6,5 Z"),  # triangle up
    "worse": ("worse", "M0,6 L6,-5 L-6,-5 Z"),  # triangle down
}
_UNSURE = ("unsure", "M-4.5,0 a4.5,4.5 0 1,0 9,0 a4.5,4.5 0 1,0 -9,0 Z")  # hollow circle


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from differences to percent of the plot's width."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def percent(self, value: float) -> float:
        """Where `value` stands, in percent of the width; values beyond the axis stop at its ends."""
        inside = min(max(value, self.low), self.high)
        return _MARGIN + (100 - 2 * _MARGIN) * (inside - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict and its drawing. Numbers that the verdict lacks are None."""

    arm: str
    against: str
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    detectable: float | None
    n: int | None
    decision: str
    kind: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Panel:
    """The verdicts of one question set and family of metrics, on one axis. `groups` holds (metric, rows)."""

    question_set: str
    family: str
    axis_svg: Markup
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


def finite(value: Any) -> float | None:
    """`value` as a float, or None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def fit_axis(verdicts: Iterable[dict[str, Any]]) -> Axis:
    """The axis that shows zero, every difference, every detectable effect and, where they are not far wider than
    those, every interval whole."""
    rows = list(verdicts)
    effects = [0.0, *_numbers(rows, "delta")]
    for detectable in _numbers(rows, "detectable"):
        effects += [-detectable, detectable]
    limit = _CLIP * max(abs(effect) for effect in effects)
    ends = _numbers(rows, "ci_low") + _numbers(rows, "ci_high")
    if limit > 0:
        ends = [min(max(end, -limit), limit) for end in ends]
    low, high = min(effects + ends), max(effects + ends)
    if high - low < 1e-9:
        low, high = low - 0.01, high + 0.01
    step = _nice_step((high - low) / 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(low, high, ticks, decimals=max(0, -math.floor(math.log10(step) + 1e-9)))


def panels(verdicts: Sequence[dict[str, Any]], family: Callable[[str], str]) -> list[Panel]:
    """The forest plot's panels, in the order in which the verdicts come.

    Args:
        verdicts: Dictionaries with the fields of `raglift.records.Verdict`; any number may be None.
        family: Metric -> name of its family; metrics of one family share an axis.
    """
    grouped: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for verdict in verdicts:
        metric = str(verdict.get("metric", ""))
        panel = grouped.setdefault((str(verdict.get("question_set", "")), family(metric)), {})
        panel.setdefault(metric, []).append(verdict)
    drawn = []
    for (question_set, name), metrics in grouped.items():
        axis = fit_axis(verdict for rows in metrics.values() for verdict in rows)
        groups = tuple((metric, tuple(_row(verdict, axis) for verdict in rows)) for metric, rows in metrics.items())
        drawn.append(Panel(question_set, name, draw_axis(axis), groups))
    return drawn


def draw_axis(axis: Axis) -> Markup:
    """The tick labels of a panel."""
    parts = [Markup('<svg class="plot axis" width="100%" height="20" aria-hidden="true">')]
    for tick in axis.ticks:
        x = _coordinate(axis.percent(tick))
        text = f"{tick:+.{axis.decimals}f}".replace("-", "\N{MINUS SIGN}") if abs(tick) > 1e-12 else "0"
        parts.append(Markup('<line class="tick" x1="{0}" y1="16" x2="{0}" y2="20"/>').format(x))
        parts.append(Markup('<text x="{}" y="12" text-anchor="middle">{}</text>').format(x, text))
    return Markup("").join([*parts, Markup("</svg>")])


def draw_row(verdict: dict[str, Any], axis: Axis) -> Markup:
    """One row: the band of effects too small to detect, the zero line, the interval, and the difference as a marker
    whose shape says the decision."""
    middle = ROW_HEIGHT / 2
    parts = [Markup('<svg class="plot" width="100%" height="{}" aria-hidden="true">').format(ROW_HEIGHT)]
    detectable = finite(verdict.get("detectable"))
    if detectable is not None:
        left, right = axis.percent(-abs(detectable)), axis.percent(abs(detectable))
        band = Markup('<rect class="band" x="{}" y="0" width="{}" height="{}"/>')
        parts.append(band.format(_coordinate(left), _coordinate(right - left), ROW_HEIGHT))
    zero = _coordinate(axis.percent(0.0))
    parts.append(Markup('<line class="zero" x1="{0}" y1="0" x2="{0}" y2="{1}"/>').format(zero, ROW_HEIGHT))
    kind, path = _MARKERS.get(str(verdict.get("decision")), _UNSURE)
    low, high = finite(verdict.get("ci_low")), finite(verdict.get("ci_high"))
    if low is not None and high is not None:
        parts.append(_whisker(axis, low, high, middle, kind))
    delta = finite(verdict.get("delta"))
    if delta is not None:
        marker = Markup('<svg class="mark {}" x="{}" y="{}" overflow="visible"><path d="{}"/></svg>')
        parts.append(marker.format(kind, _coordinate(axis.percent(delta)), f"{middle:g}", path))
    return Markup("").join([*parts, Markup("</svg>")])


def _whisker(axis: Axis, low: float, high: float, middle: float, kind: str) -> Markup:
    left, right = _coordinate(axis.percent(low)), _coordinate(axis.percent(high))
    line = Markup('<line class="whisker {}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    parts = [line.format(kind, left, f"{middle:g}", right, f"{middle:g}")]
    end = Markup('<svg class="end {}" x="{}" y="{}" overflow="visible"><path d="{}"/></svg>')
    cap = "M0,-4 L0,4"
    parts.append(end.format(kind, left, f"{middle:g}", "M4,-4 L-2,0 L4,4" if low < axis.low else cap))
    parts.append(end.format(kind, right, f"{middle:g}", "M-4,-4 L2,0 L-4,4" if high > axis.high else cap))
    return Markup("").join(parts)


def _row(verdict: dict[str, Any], axis: Axis) -> Row:
    def number(key: str) -> float | None:
        return finite(verdict.get(key))

    count = number("n")
    decision = str(verdict.get("decision", "cannot tell"))
    return Row(
        arm=str(verdict.get("arm", "")),
        against=str(verdict.get("against", "")),
        delta=number("delta"),
        ci_low=number("ci_low"),
        ci_high=number("ci_high"),
        p=number("p"),
        detectable=number("detectable"),
        n=None if count is None else int(count),
        decision=decision,
        kind=_MARKERS.get(decision, _UNSURE)[0],
        svg=draw_row(verdict, axis),
    )


def _numbers(rows: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [number for row in rows if (number := finite(row.get(key))) is not None]


def _nice_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def _coordinate(percent: float) -> str:
    return f"{percent:.3f}%"
