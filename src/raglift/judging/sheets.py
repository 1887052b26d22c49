"""Reading sheets: two arms' answers side by side, blind and shuffled, for people to choose between."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Literal

from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.judging.items import Item
from raglift.records import content_id

LABELS = ("A", "B", "tie")
Label = Literal["A", "B", "tie"]


@dataclass(frozen=True, slots=True)
class Pair:
    """What a reader sees: two answers to a question, without the arms that gave them. `label` is the reader's."""

    id: str
    question: str
    references: tuple[str, ...]
    A: str
    B: str
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Which question a pair is of, and the arm whose answer is A."""

    question_set: str
    qa_id: str
    first: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Pairs in the order in which they are read, and the key that the reader does not see: pair id -> what it is.

    The key is that of all pairs, so that a longer sheet of the same arms leaves what a shorter one said."""

    id: str
    origin: str
    arms: tuple[str, str]
    pairs: tuple[Pair, ...]
    key: Mapping[str, Placed]


def make_sheet(
    sets: Mapping[str, Mapping[str, Sequence[Item]]], arms: tuple[str, str], most: int | None, seed: int, origin: str
) -> Sheet:
    """The questions that both arms answered differently, in an order and with sides that the seed draws.

    Args:
        sets: Question set -> arm -> items, of the same questions for all arms.
        most: Pairs at most; None: all.
        origin: What the answers are of, such as the key of an evaluation; part of the ids.
    """
    name = content_id("sheet", origin, arms, seed)
    rng = random.Random(f"{seed}/sheet")
    found = []
    for question_set in sorted(sets):
        other = {item.id: item for item in sets[question_set].get(arms[1], ())}
        for item in sets[question_set].get(arms[0], ()):
            beside = other.get(item.id)
            if beside is not None and _differ(item.answer, beside.answer):
                found.append((question_set, item, beside))
    rng.shuffle(found)
    pairs, key = [], {}
    for question_set, item, beside in found:
        turned = rng.random() < 0.5
        pair_id = content_id(name, question_set, item.id)
        first, second = (beside, item) if turned else (item, beside)
        pairs.append(Pair(pair_id, item.question, item.references, first.answer or "", second.answer or ""))
        key[pair_id] = Placed(question_set, item.id, arms[1] if turned else arms[0])
    return Sheet(name, origin, arms, tuple(pairs[:most]), key)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.split() != other.split()


def write_key(folder: Path, sheet: Sheet) -> None:
    """Keep what the reader does not see, for `read_keys`."""
    value = {
        "origin": sheet.origin,
        "arms": sheet.arms,
        "pairs": {name: asdict(placed) for name, placed in sheet.key.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{sheet.id}.json", value)


def read_keys(folder: Path, origin: str) -> dict[str, tuple[tuple[str, str], Placed]]:
    """Pair id -> the two arms and what it is, of every sheet that was made of these answers."""
    found: dict[str, tuple[tuple[str, str], Placed]] = {}
    for file in sorted(folder.glob("*.json")):
        value = json.loads(file.read_text("utf-8"))
        if value["origin"] != origin:
            continue
        arms = (value["arms"][0], value["arms"][1])
        found |= {name: (arms, Placed(**placed)) for name, placed in value["pairs"].items()}
    return found


def read_labels(file: Path, known: Mapping[str, object]) -> dict[str, Label]:
    """Pair id -> label, of a file of labels or a sheet's JSON Lines that was filled in; without those left open.

    Args:
        known: The ids of all pairs.

    Raises:
        UserError: The file is not there or holds something else, a pair is unknown or has two labels, or there is none.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {file}.", str(error), "--labels names the file that the sheet saved.") from error
    found: dict[str, Label] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, label = _entry(line, f"{file}:{number}", known)
        if label is None:
            continue
        if found.setdefault(name, label) != label:
            raise UserError(f"{file}:{number} gives the pair {name} another label than an earlier line.")
    if not found:
        raise UserError(f"There is no label in {file}.", "Every pair is left open.", 'A label is "A", "B" or "tie".')
    return found


def _entry(line: str, where: str, known: Mapping[str, object]) -> tuple[str, Label | None]:
    try:
        entry = json.loads(line)
        name, label = entry["id"], entry.get("label")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{where} is no label.", f"{type(error).__name__}: {error}", 'A line is {"id": "...", "label": "A"}.'
        ) from error
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"{where} is about a pair that no sheet of this run's answers has.",
            str(name)[:60],
            "Give the run that made the sheet; where its answers were made anew, make a sheet anew.",
        )
    if label is not None and label != "" and label not in LABELS:
        raise UserError(f"{where} has a label that is none.", repr(label)[:60], 'A label is "A", "B" or "tie".')
    return name, label or None


def value_of(label: Label, placed: Placed, arm: str) -> float:
    """1 where the label prefers the arm, 0 where the other one, 0.5 for a tie."""
    if label == "tie":
        return 0.5
    return float((label == "A") == (placed.first == arm))


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }
article { border-top: 1px solid #bbb; padding: 1rem 0 }
.answers { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
.answers div { background: #f3f3f0; padding: .5rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
.reference { color: #555 } label { margin-right: 1.5rem } h2 { font-size: 1.1rem }
footer { position: sticky; bottom: 0; background: #fff; border-top: 1px solid #bbb; padding: .5rem 0 }
"""
_SCRIPT = """
const picked = () => [...document.querySelectorAll("input:checked")];
const show = () => { document.querySelector("output").textContent = `${picked().length} of ${total} read`; };
const total = document.querySelectorAll("article").length;
document.addEventListener("change", show);
document.querySelector("button").addEventListener("click", () => {
  const lines = picked().map(one => JSON.stringify({ id: one.name, label: one.value }) + "\\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = "labels.jsonl";
  link.click();
});
show();
"""


def sheet_html(sheet: Sheet) -> str:
    """The sheet as one page that loads nothing; its button saves the labels as JSON Lines."""
    articles = "\n".join(_article(number, pair) for number, pair in enumerate(sheet.pairs, 1))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reading sheet</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<style>{_STYLE}</style></head><body>
<h1>Which answer is better?</h1>
<p>Two answers to each question, in an order drawn by chance. Choose the one that serves better whoever asked; a tie if
neither does. Then save the labels.</p>
<main>
{articles}
</main>
<footer><button type="button">Save the labels</button> <output></output></footer>
<script>{_SCRIPT}</script></body></html>
"""


def _article(number: int, pair: Pair) -> str:
    references = "; ".join(escape(text) for text in pair.references)
    known = f'<p class="reference">Known to be right: {references}</p>' if references else ""
    choices = "".join(
        f'<label><input type="radio" name="{pair.id}" value="{label}"> {label}</label>' for label in LABELS
    )
    return (
        f"<article><h2>{number}. {escape(pair.question)}</h2>{known}"
        f'<section class="answers"><div><b>A</b>\n{escape(pair.A)}</div><div><b>B</b>\n{escape(pair.B)}</div></section>'
        f"<p>{choices}</p></article>"
    )
