"""The page about the measured rows: differences to the base, paired by question and clustered by document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from raglift.evaluation.statistics import Comparison, Resampling, compare
from raglift.records import Target

Place = tuple[str, Target, str]
Measured = Mapping[str, Any]
_QUALITY = {"embedding": "nDCG@10", "llm": "token F1"}
_OUTSIDE = {"embedding": "nDCG@10 outside", "llm": "nats a token outside"}
_MODEL = {"embedding": "embedding model", "llm": "language model"}
_SPAN = {"embedding": 1.0, "llm": 20.0}
"""The largest difference that is possible, or, of log-probabilities, that is not cut off."""
_DIGITS = 3


_PAGE = """\
# Strategies compared

Every [strategy](tuning.md) on both models, measured on two sets: one in BEIR layout, and the demo's documents
(`python-reference`). What is missing here has not been measured. This page is written by

    python scripts/bench/strategies.py --beir DIR --work FOLDER
    python scripts/bench/strategies.py --beir DIR --work FOLDER --markdown > docs/strategies-compared.md

- **The same data in every row of a table.** The synthesis stage wrote questions about {train:.0%} of the documents,
  once; nothing that people asked is trained on. The settings are those of `configs/`, and the learning rate is the
  config's where it has one for these very strategies, else the one that `auto` takes. The embedding model passes over
  the data {embedding} times, the language model {llm} time. Where the table names two strategies, the first says what
  may change.
- **The last state is measured,** whatever it is worth. A run would keep the base wherever nothing beats it on the
  development questions; what they would keep of this training stands in the column *development keeps*. Only
  `weight_interpolation` is measured as the state that they prefer, since its states are mixes.
- **Quality:** {embedding_metric} of the embedding model, over all passages of the set; {llm_metric} of the language
  model, which reads the passage that the base embedding model ranks first. Both on people's questions about held-out
  documents.
- **Forgetting:** the same {embedding_metric} on all of people's questions about the *other* set; for the language model
  the mean log-probability of a token, in nats, of the other set's passages. Neither was seen in training, nor do the
  anchors use it. Below 0, something was lost.
- **Differences** are to the untuned base, with 95% intervals, paired by question and clustered by document. They are of
  one seed, and are not corrected for the number of rows: about one row in twenty would lie beside 0 by chance alone.
- **CPU seconds** are those of the training's own process until its last step, over all threads, with what a strategy
  computes before the first step, without loading, scoring and saving. They are what to compare: *seconds* on the clock
  depend on what else the machine was doing.
- **Peak memory** is the process's, until the last step; {libraries:.1f} GB of it are libraries. **On disk** is what
  raglift saves: an adapter, or a whole model.

Measured on a processor with {cores} cores, {threads} threads, {dtype}."""


def page(rows: Mapping[Place, Measured], counts: Mapping[str, Mapping[str, int]], facts: Mapping[str, Any]) -> str:
    """The whole page, in Markdown.

    Args:
        facts: The share of documents that trains (`train`) and the passes over the data by target.
    """
    first = next(iter(rows.values()))
    machine = {"cores": os.cpu_count(), "threads": first["threads"], "dtype": first["dtype"]}
    metrics = {f"{target}_metric": name for target, name in _QUALITY.items()}
    text = _PAGE.format(**facts, **machine, **metrics, libraries=first["libraries_mb"] / 1000)
    return f"{text}\n\n{tables(rows, counts)}"


def tables(rows: Mapping[Place, Measured], counts: Mapping[str, Mapping[str, int]]) -> str:
    """A table a set and target, in the order of the rows; without the base's row there is none."""
    parts = []
    for name, target in dict.fromkeys((name, target) for name, target, _ in rows):
        here = {row: found for (*place, row), found in rows.items() if place == [name, target]}
        if "base" in here:
            lines = [f"## {name}, {_MODEL[target]}", "", _about(name, target, here["base"], counts), ""]
            parts.append("\n".join(lines + _table(here, target)))
    return "\n\n".join(parts)


def _about(name: str, target: Target, base: Measured, counts: Mapping[str, Mapping[str, int]]) -> str:
    made = counts[name]
    documents = len({base["clusters"][key] for key in base["quality"]})
    trained = f"{made['pairs']} pairs" if target == "embedding" else f"{made['examples']} examples"
    judged = f"{len(base['quality'])} questions about {documents} held-out documents"
    what = "questions" if target == "embedding" else "passages"
    return f"{trained} train; {judged} judge at home, {len(base['outside'])} {what} of the other set outside."


def _table(rows: Mapping[str, Measured], target: Target) -> list[str]:
    columns = (
        "strategy",
        _QUALITY[target],
        "less the base",
        f"{_OUTSIDE[target]}, less the base",
        "development keeps",
        "CPU seconds",
        "seconds",
        "peak memory, GB",
        "on disk, MB",
    )
    lines = [columns, ("---",) * len(columns)]
    base = rows["base"]
    for name, row in rows.items():
        mean = f"{fmean(row['quality'].values()):.{_DIGITS}f}"
        if name == "base":
            outside = f"({fmean(row['outside'].values()):.{_DIGITS}f})"
            lines.append(("base, untuned", mean, "", outside, "", "", "", "", ""))
            continue
        took = (f"{row['cpu_seconds']:.0f}", f"{row['wall_seconds']:.0f}", f"{row['peak_mb'] / 1000:.1f}")
        differences = [_signed(_difference(row, base, part, target)) for part in ("quality", "outside")]
        lines.append((_code(name), mean, *differences, kept(row, base), *took, _size(row["disk_mb"])))
    return [f"| {' | '.join(line)} |" for line in lines]


def _code(name: str) -> str:
    """Names of strategies in backticks, what is said of them without."""
    first, mark, rest = name.partition(",")
    plain, as_in, more = first.partition(" as in ")
    return " + ".join(f"`{part}`" for part in plain.split(" + ")) + as_in + more + mark + rest


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f}" if megabytes >= 10 else f"{megabytes:.1f}"


def _difference(row: Measured, base: Measured, part: str, target: Target) -> Comparison:
    span = _SPAN[target] if part == "outside" else 1.0
    return compare(row[part], base[part], Resampling(base["clusters"]), span=span)


def _signed(found: Comparison) -> str:
    delta, low, high = (f"{value:+.{_DIGITS}f}" for value in (found.delta, found.ci_low, found.ci_high))
    return f"{delta} [{low}, {high}]"


def kept(row: Measured, base: Measured) -> str:
    """What the development questions would have kept of a row."""
    return str(row["state"]) if row["dev"] > base["dev"] else "base"


def summary(rows: Mapping[Place, Measured]) -> dict[str, dict[str, Any]]:
    """Row -> its figures, without what each question was worth."""
    found: dict[str, dict[str, Any]] = {}
    for (name, target, row), measured in rows.items():
        figures = {key: value for key, value in measured.items() if key not in ("quality", "outside", "clusters")}
        figures |= {part: round(fmean(measured[part].values()), 4) for part in ("quality", "outside")}
        base = rows.get((name, target, "base"))
        if base is not None and row != "base":
            for part in ("quality", "outside"):
                lift = _difference(measured, base, part, target)
                figures[f"{part} lift"] = [round(value, 4) for value in (lift.delta, lift.ci_low, lift.ci_high)]
        found[f"{name}/{target}/{row}"] = figures
    return found
