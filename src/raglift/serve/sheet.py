"""Reading sheets of a finished run, and what people say of its answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raglift.artifacts import disk_errors, write_atomic
from raglift.errors import UserError
from raglift.evaluation.arms import BASE
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling, mean_interval
from raglift.judging.agreement import krippendorff_alpha
from raglift.judging.sheets import (
    Label,
    Placed,
    Sheet,
    make_sheet,
    read_keys,
    read_labels,
    sheet_html,
    value_of,
    write_key,
)
from raglift.plugins import nearest
from raglift.records import Score, dump_line, read_jsonl, write_jsonl
from raglift.serve.judge import FILE as JUDGED
from raglift.serve.judge import FOLDER as JUDGES
from raglift.serve.judge import read_answers
from raglift.serve.result import RunResult

FOLDER = "sheets"
_READER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """What a reader said of a pair: `value` is 1 where `arm` is preferred to `against`, 0.5 for a tie."""

    pair: str
    question_set: str
    qa_id: str
    arm: str
    against: str
    reader: str
    value: float


def write_sheet(result: RunResult, arms: tuple[str, str], out: Path, most: int | None = None) -> Sheet:
    """Write a reading sheet of two arms: `out` for a browser, and beside it the same as JSON Lines to fill in.

    Which arm gave which answer is kept in the run's folder alone.

    Args:
        out: A new file that ends in .html.
        most: Pairs at most; None: all questions that the two arms answered differently.

    Raises:
        UserError: An arm does not answer, the two are one, their answers are all the same, or `out` is there.
    """
    lines = out.with_suffix(".jsonl")
    taken = next((file for file in (out, lines) if file.exists()), None)
    if out.suffix != ".html" or taken is not None:
        why = f"{taken} is there, and may hold labels." if taken else f"It is called {out.name}."
        raise UserError("A reading sheet needs a new file that ends in .html.", why, "Name another file with --out.")
    _, sets = read_answers(result, None)
    writing = list(dict.fromkeys(arm for items in sets.values() for arm in items))
    for arm in arms:
        if arm not in writing:
            raise UserError(f"The run has no answers of an arm called {arm!r}.", nearest(arm, writing))
    if arms[0] == arms[1]:
        raise UserError("A reading sheet compares two arms.", f"Both are {arms[0]!r}.")
    sheet = make_sheet(sets, arms, most, result.config.seed, result.artifact("evaluation").key)
    if not sheet.pairs:
        raise UserError(
            f"{arms[0]} and {arms[1]} gave the same answer to every question.", "There is nothing to choose."
        )
    with disk_errors(out.parent, "another file with --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_key(result.folder / FOLDER, sheet)
        write_jsonl(lines, sheet.pairs)
        write_atomic(out, sheet_html(sheet).encode("utf-8"))
    return sheet


def take_labels(result: RunResult, file: Path, reader: str = "reader") -> dict[str, Any]:
    """Keep what a reader said, and hold it against other readers and the judges.

    Args:
        file: What the sheet's button saved, or the sheet's JSON Lines filled in. Labels that the reader gave before
            stay, unless there is a new one of the same pair.
        reader: Whose labels they are.

    Returns:
        `reader`, `labels` (how many), `preferred` (for two arms the share with `ci_low` and `ci_high`, and counts) and
        `agreement` (with each other reader and each judge that compared the same pairs: `alpha`, `n`).

    Raises:
        UserError: The file or the reader's name is wrong.
    """
    if not _READER.fullmatch(reader):
        raise UserError(
            "A reader's name is letters, digits and . _ -.", repr(reader)[:70], "Give --reader another name."
        )
    folder = result.folder / FOLDER
    keys = read_keys(folder, result.artifact("evaluation").key)
    given = {name: _label(name, label, *keys[name], reader) for name, label in read_labels(file, keys).items()}
    kept = folder / f"labels-{reader}.jsonl"
    before = {label.pair: label for label in read_jsonl(kept, HumanLabel)} if kept.exists() else {}
    said = before | given
    text = "".join(dump_line(said[name]) + "\n" for name in sorted(said))
    write_atomic(kept, text.encode("utf-8"))
    labels = {name: label for name, label in said.items() if name in keys}  # an evaluation made anew has other answers
    return {
        "reader": reader,
        "labels": len(labels),
        "preferred": _preferred(result, labels),
        "agreement": _agreement(result, labels, reader),
    }


def _label(name: str, label: Label, arms: tuple[str, str], placed: Placed, reader: str) -> HumanLabel:
    arm, against = arms
    return HumanLabel(name, placed.question_set, placed.qa_id, arm, against, reader, value_of(label, placed, arm))


def _preferred(result: RunResult, labels: Mapping[str, HumanLabel]) -> list[dict[str, Any]]:
    """For every two arms, how often the first is preferred, a tie as a half, with its interval over documents."""
    cluster = {
        (name, qa_id): document
        for name, questions in read_answers(result, None)[0].items()
        for qa_id, document in clusters(questions).items()
    }
    found = []
    for arm, against in sorted({(label.arm, label.against) for label in labels.values()}):
        own = {name: label for name, label in labels.items() if (label.arm, label.against) == (arm, against)}
        values = {name: label.value for name, label in own.items()}
        units = {name: (label.question_set, label.qa_id) for name, label in own.items()}
        places = {name: cluster[unit] for name, unit in units.items() if unit in cluster}
        mean = mean_interval(values, Resampling(places, result.config.seed, result.config.evaluation.resamples))
        counts = Counter(values.values())
        found.append(
            {"arm": arm, "against": against, "value": mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high}
            | {"n": len(values), "wins": counts[1.0], "ties": counts[0.5], "losses": counts[0.0]}
        )
    return found


def _agreement(result: RunResult, labels: Mapping[str, HumanLabel], reader: str) -> list[dict[str, Any]]:
    """Krippendorff's alpha with every other reader and judge, over the pairs that both have labelled."""
    own = {_unit(label): _toward(label) for label in labels.values()}
    others: dict[str, dict[str, float]] = {}
    for file in sorted((result.folder / FOLDER).glob("labels-*.jsonl")):
        name = file.stem.removeprefix("labels-")
        if name != reader:
            others[f"reader {name}"] = {_unit(label): _toward(label) for label in read_jsonl(file, HumanLabel)}
    names = _judges(result.folder / JUDGED, result.artifact("evaluation").key)
    for file in sorted((result.folder / JUDGES).glob("*-scores.jsonl")):
        identity, _, question_set = file.name.removesuffix("-scores.jsonl").partition("-")
        for score in read_jsonl(file, Score):
            if identity in names and score.metric == "judge_pairwise" and score.value is not None:
                unit = "/".join([question_set, score.qa_id, *sorted([score.arm, BASE])])
                value = score.value if score.arm < BASE else 1 - score.value
                others.setdefault(f"judge {names[identity]}", {})[unit] = value
    found = []
    for name, theirs in others.items():
        common = own.keys() & theirs.keys()
        if common:
            alpha = krippendorff_alpha([{unit: each[unit] for unit in common} for each in (own, theirs)])
            found.append({"with": name, "alpha": alpha, "n": len(common)})
    return found


def _judges(file: Path, evaluation: str) -> dict[str, str]:
    """Identity -> name of the judges of these answers that judge.json knows."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        return {value["judge"]["identity"]: name for name, value in kept.items() if value["evaluation"] == evaluation}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _unit(label: HumanLabel) -> str:
    return "/".join([label.question_set, label.qa_id, *sorted([label.arm, label.against])])


def _toward(label: HumanLabel) -> float:
    """The value for the arm whose name comes first, so that sheets of the same two arms the other way round agree."""
    return label.value if label.arm < label.against else 1 - label.value
