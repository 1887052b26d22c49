"""The report as one HTML file that needs no network: tables, plots and the questions side by side.

Every text that comes from documents, models or settings is untrusted: the templates escape it, the questions travel
as escaped JSON that the script only ever shows as text, and a content security policy admits the file's own style
and script by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from raglift.evaluation.scale import PRICES
from raglift.report import slice_view, trials
from raglift.report.forest import finite, panels

_FOLDER = Path(__file__).parent
_ARMS = (
    *("base", "tuned_embedding", "tuned_llm", "tuned_both", "reranked", "tuned_all"),
    *("bm25", "hybrid", "tuned_hybrid", "closed_book", "tuned_llm_closed_book"),
)
_METRICS = (
    *("nDCG@10", "RR@10", "R@5", "R@10", "Success@5", "AP"),
    *("exact_match", "token_f1", "numeric_match", "rouge_1", "rouge_2", "rouge_l", "bleu", "chrf"),
    *("semantic_similarity", "string_presence", "json_valid", "citation_precision", "citation_recall"),
    *("abstention", "wrongly_refused", "wrongly_answered", "answer_length", "readability", *PRICES),
)
_SCALES = {name: {"low": 0.0, "high": None, "better": "lower"} for name in PRICES}
_UNIT = {"low": 0.0, "high": 1.0, "better": "higher"}
"""The scale of a metric for which a report names none."""
_CHOICES = {
    "fusion_base": "Words and the base embedding model",
    "fusion_tuned": "Words and the tuned embedding model",
    "transforms": "Questions in other words",
}
_CURVE_POINTS = 400  # more points than a plot has pixels only make the file larger


def render(report: dict[str, Any], questions: Sequence[dict[str, Any]]) -> str:
    """The report as a complete HTML document.

    The same numbers give the same bytes, whatever the order of the keys.

    Args:
        report: What `report.json` holds: `run`, `verdict`, `created`, `arms`, `question_sets`, `retrieval`,
            `response`, `metrics`, `verdicts`, `slices`, `judges`, `support`, `left_out`, `funnel`, `audit`,
            `training`, `choices`, `stages`, `chosen`, `settings`, `versions`. A part that is missing or empty is left
            out or said to be missing; a score that is None is shown as a dash.
        questions: One dictionary a question: `id`, `question_set`, `question`, `answers`, `answerable`, `kind` and
            `arms`, which maps an arm to its `answer`, `passages` (`chunk_id`, `source`, `text`, `relevant`, `score`)
            and `scores`. The text of a passage is stored once, however many arms found it.
    """
    style = (_FOLDER / "style.css").read_text("utf-8")
    script = (_FOLDER / "report.js").read_text("utf-8")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'"
    template = _environment().get_template("report.html.jinja")
    html = template.render(
        _view(report),
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        island=_island(report, questions),
        question_count=len(questions),
    )
    # A lone surrogate cannot be written as UTF-8, and a control character is not allowed in HTML.
    html = html.encode("utf-8", "replace").decode("utf-8")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", html)


def embed_json(value: Any) -> Markup:
    """`value` as JSON that is safe inside a script element: it cannot close the element or open a comment."""
    text = json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _view(report: dict[str, Any]) -> dict[str, Any]:
    chosen = report.get("chosen") or {}
    sets = _sorted_sets(report)
    retrieval = {metric for arms in _part(report, "retrieval").values() for row in arms.values() for metric in row}

    def family(metric: str) -> str:
        scale = _scale(report, metric)
        if metric == "seconds":
            return "time"
        if (scale["low"], scale["high"]) != (_UNIT["low"], _UNIT["high"]):
            return metric.replace("_", " ")  # on an axis of its own: it would flatten those in [0, 1]
        return "retrieval" if metric in retrieval else "response"

    verdicts = sorted(
        report.get("verdicts") or [],
        key=lambda row: (sets.index(row["question_set"]), _metric_key(row["metric"]), _arm_key(row["arm"])),
    )
    against_base = [row for row in verdicts if row["arm"] == chosen.get("arm") and row["against"] == "base"]
    found = (_score_table(report, name, kind) for name in sets for kind in ("retrieval", "response"))
    tables = [table for table in found if table]
    metrics = {metric for table in tables for metric in table["metrics"]} | {row["metric"] for row in verdicts}
    return {
        "report": report,
        "chosen": chosen,
        "chosen_arm": chosen.get("arm"),
        "set_names": sets,
        "question_sets": {name: _part(report, "question_sets").get(name, {}) for name in sets},
        "arms": [(name, _part(report, "arms")[name]) for name in sorted(_part(report, "arms"), key=_arm_key)],
        "tables": tables,
        "against_base": against_base,
        "panels": panels(verdicts, family),
        "metrics": sorted(metrics, key=_metric_key),
        "slices": slice_view.view(_part(report, "slices"), chosen.get("arm"), sets),
        "judges": _part(report, "judges"),
        "support": report.get("support"),
        "left_out": report.get("left_out") or [],
        "training": [_training(name, part) for name, part in sorted(_part(report, "training").items()) if part],
        "choices": [
            {"title": title, **_part(report, "choices")[stage]}
            for stage, title in _CHOICES.items()
            if stage in _part(report, "choices")
        ],
        "funnel": _funnel(report.get("funnel") or []),
        "audit": report.get("audit") or [],
        "settings": _flatten(_part(report, "settings")),
        "versions": sorted(_part(report, "versions").items()),
        "stages": report.get("stages") or [],
        "seconds": sum(finite(stage.get("seconds")) or 0.0 for stage in report.get("stages") or []),
    }


def _part(report: dict[str, Any], key: str) -> dict[str, Any]:
    part: dict[str, Any] = report.get(key) or {}
    return part


def _sorted_sets(report: dict[str, Any]) -> list[str]:
    """Questions written by people first: they are the better evidence."""
    described = _part(report, "question_sets")
    names = {*described, *_part(report, "retrieval"), *_part(report, "response")}
    names |= {row["question_set"] for row in report.get("verdicts") or []}
    return sorted(names, key=lambda name: (described.get(name, {}).get("origin", name) != "human", name))


def _arm_key(arm: str) -> tuple[int, str]:
    return (_ARMS.index(arm) if arm in _ARMS else len(_ARMS), arm)


def _metric_key(metric: str) -> tuple[int, str]:
    return (_METRICS.index(metric) if metric in _METRICS else len(_METRICS), metric)


def _score_table(report: dict[str, Any], name: str, kind: str) -> dict[str, Any] | None:
    """The table of one question set and family of metrics; None where nothing was scored."""
    scores = _part(report, kind).get(name) or {}
    metrics = sorted({metric for row in scores.values() for metric in row}, key=_metric_key)
    if not metrics:
        return None
    better = {metric: _scale(report, metric)["better"] for metric in metrics}
    cells = {metric: {arm: row.get(metric) or {} for arm, row in scores.items()} for metric in metrics}
    columns = [_column(cells[metric], better[metric]) for metric in metrics]
    rows = [(arm, [column["cells"][arm] for column in columns]) for arm in sorted(scores, key=_arm_key)]
    heads = [(metric, column["n"], better[metric]) for metric, column in zip(metrics, columns, strict=True)]
    return {"question_set": name, "family": kind, "metrics": metrics, "heads": heads, "rows": rows}


def _scale(report: dict[str, Any], metric: str) -> dict[str, Any]:
    """The bounds of a metric (None: none), and whether "higher" or "lower" values are better, or None."""
    found: dict[str, Any] = {**_SCALES, **_part(report, "metrics")}.get(metric, _UNIT)
    return found


def _column(cells: dict[str, dict[str, Any]], better: str | None) -> dict[str, Any]:
    """The cells of one metric, arm by arm, the best marked if any is, and `n` where all arms share it."""
    shown = {arm: round(value, 3) for arm, cell in cells.items() if (value := finite(cell.get("value"))) is not None}
    pick = min if better == "lower" else max
    best = pick(shown.values()) if len(shown) > 1 and better is not None else None
    counts = {cells[arm].get("n") for arm in shown}
    shared = counts.pop() if len(counts) == 1 else None
    marked = {}
    for arm, cell in cells.items():
        coverage = finite(cell.get("coverage"))
        marked[arm] = {
            "value": finite(cell.get("value")),
            "low": finite(cell.get("ci_low")),
            "high": finite(cell.get("ci_high")),
            "best": best is not None and shown.get(arm) == best,
            "coverage": coverage if coverage is not None and coverage < 1 else None,
            "n": cell.get("n") if shared is None and arm in shown else None,
        }
    return {"cells": marked, "n": shared}


def _training(name: str, part: dict[str, Any]) -> dict[str, Any]:
    candidates = part.get("candidates") or []
    chosen: dict[str, Any] = next((row for row in candidates if row.get("name") == part.get("chosen")), {})
    levels = {row["name"]: row.get("dev") for row in candidates if row.get("name") == "base"}
    if part.get("chosen") != "base":
        levels["chosen"] = chosen.get("dev")
    found = re.search(r"step\D{0,3}(\d+)", str(part.get("chosen", "")))
    step = finite(chosen.get("step")) if "step" in chosen else float(found[1]) if found else None
    history = part.get("history") or []
    return {
        "target": name,
        "strategies": part.get("strategies") or [],
        "chosen": part.get("chosen"),
        "candidates": candidates,
        "curves": [
            curve
            for title, key, lines in (("Training loss", "loss", {}), ("Development score", "dev", levels))
            if (curve := _curve(title, _series(history, key), step, lines))
        ],
        "trials": trials.view(part),
        "settings": _flatten(part.get("settings") or {}),
    }


def _series(history: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    pairs = ((finite(row.get("step")), finite(row.get(key))) for row in history)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _curve(
    title: str, points: Sequence[tuple[float, float]], chosen_step: float | None, levels: Mapping[str, Any]
) -> dict[str, Any] | None:
    """One curve in percent of its plot, y downward; None where there are no points.

    Args:
        points: (step, value), by rising step.
        levels: Name -> value of a horizontal line, for what has no step of its own.
    """
    if not points:
        return None
    lines = {name: height for name, value in sorted(levels.items()) if (height := finite(value)) is not None}
    heights = [y for _, y in points] + list(lines.values())
    left, right, low, high = points[0][0], points[-1][0], min(heights), max(heights)

    def place(x: float, y: float) -> tuple[float, float]:
        return round(2 + 96 * (x - left) / (right - left or 1), 2), round(94 - 88 * (y - low) / (high - low or 1), 2)

    stride = -(-len(points) // _CURVE_POINTS)
    at_step = [(*place(x, y), x, y) for x, y in points if x == chosen_step]
    return {
        "title": title,
        "points": [place(x, y) for x, y in [*points[:-1:stride], points[-1]]],
        "first": points[0],
        "last": points[-1],
        "low": low,
        "high": high,
        "levels": [(name, value, place(left, value)[1]) for name, value in lines.items()],
        "chosen": at_step[0] if at_step else None,
    }


def _funnel(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The counts grouped by stage, each with its bar's width in percent of the largest count."""
    largest = max((finite(row.get("count")) or 0.0 for row in rows), default=0.0)
    stages: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        count = finite(row.get("count"))
        width = 100 * count / largest if count and largest else 0.0
        entry = {"reason": row.get("reason", ""), "count": count, "width": f"{width:.2f}%"}
        stages.setdefault(str(row.get("stage", "")), []).append(entry)
    return [{"stage": stage, "rows": entries} for stage, entries in stages.items()]


def _island(report: dict[str, Any], questions: Sequence[dict[str, Any]]) -> Markup:
    """The questions as JSON: passages in one list, referred to by position as (position, score, relevant)."""
    passages: dict[tuple[str, str, str], int] = {}
    shown = []
    for question in questions:
        arms: dict[str, Any] = {}
        for arm, result in sorted((question.get("arms") or {}).items()):
            found = []
            for passage in result.get("passages") or []:
                key = (str(passage.get("chunk_id", "")), str(passage.get("source", "")), str(passage.get("text", "")))
                place = passages.setdefault(key, len(passages))
                found.append([place, finite(passage.get("score")), bool(passage.get("relevant"))])
            arms[arm] = {"answer": result.get("answer"), "scores": result.get("scores") or {}, "passages": found}
        shown.append({**{key: question.get(key) for key in _QUESTION_FIELDS}, "arms": arms})
    names = sorted({arm for question in questions for arm in question.get("arms") or {}}, key=_arm_key)
    chosen = (report.get("chosen") or {}).get("arm")
    return embed_json({"arms": names, "chosen": chosen, "passages": list(passages), "questions": shown})


_QUESTION_FIELDS = ("id", "question_set", "question", "answers", "answerable", "kind")


def _plain(value: Any) -> Any:
    """`value` for JSON: four decimals, and None for what JSON cannot hold, such as NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if not isinstance(value, float) else None if finite(value) is None else round(value, 4)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value as text), sorted."""
    flat = []
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping) and value:
            flat += _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat.append((prefix + key, text))
    return flat


def _number(value: Any, decimals: int = 3, signed: bool = False) -> str:
    number = finite(value)
    if number is None:
        return "\N{EN DASH}"
    rounded = round(number, decimals) + 0.0  # no minus sign before a zero
    sign = "+" if signed and rounded > 0 else ""
    return f"{sign}{rounded:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _duration(value: Any) -> str:
    seconds = finite(value)
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, duration=_duration)
    return environment
