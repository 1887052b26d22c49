"""Every strategy on both models and two sets: quality, forgetting, seconds, memory, size on disk.

The sets are one in BEIR layout and the demo's documents (python-reference). For each, questions are written once from
the documents of the train and development splits, and every row trains on the same of them: a strategy with the
hyper-parameters of configs/NAME.yaml, for the same number of epochs. What is measured is the last state of each
training, whatever it is worth, in a process of its own; what the development questions would have kept stands beside
it.

    quality     embedding: nDCG@10; llm: token F1 with the passages that the base retriever finds; of people's questions
                about held-out documents, which nothing has seen
    forgetting  embedding: nDCG@10 of people's questions about the other set; llm: log-probability a token, in nats, of
                the other set's passages

    python scripts/bench/strategies.py --beir DIR --work FOLDER
    python scripts/bench/strategies.py --beir DIR --work FOLDER --markdown

A finished row is kept in FOLDER and not measured again, so that the same command goes on after an interruption. The
last line printed is JSON; `--markdown` measures nothing and prints the page about the rows that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from raglift import plugins
from raglift.artifacts import write_json
from raglift.records import Target

CONFIGS = Path(__file__).parents[2] / "configs"
TARGETS: tuple[Target, ...] = ("embedding", "llm")
EPOCHS = {"embedding": 3, "llm": 1}
TRAINED = 0.4
"""Share of the documents that questions for training are written about; a tenth is for choosing, the rest judges."""
BASE = "base"


FULL: tuple[str, Mapping[str, Any]] = ("full", {})
LORA: tuple[str, Mapping[str, Any]] = ("lora", {})


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        config: The file in configs/ whose strategy of that name is taken, with its settings.
        owner: The strategy on the axis `parameters` beside it, or in its place, with its settings.
        targets: Where the line stands; empty: wherever its strategies go.
    """

    name: str
    config: str
    owner: tuple[str, Mapping[str, Any]] | None = None
    targets: tuple[Target, ...] = ()


STRATEGIES = (
    Row("full", "full"),
    Row("lora", "lora", LORA),
    Row("top_layers", "top_layers"),
    Row("bottleneck_adapter", "bottleneck_adapter"),
    Row("embedding_head", "embedding_head"),
    Row("vital_parameters", "vital_parameters"),
    Row("bias_only", "bias_only"),
    Row("full + weight_interpolation", "weight_interpolation", FULL),
    Row("full + kl_to_base", "kl_to_base", FULL),
    Row("full + l2_sp", "l2_sp", FULL),
    Row("full + elastic_weights", "elastic_weights", FULL),
    Row("full + gradual_unfreezing", "gradual_unfreezing", FULL),
    Row("lora + kl_to_base", "kl_to_base", LORA),
    Row("lora + weight_interpolation", "weight_interpolation", LORA),
)
_NAMED = ("dora", "pissa", "adalora", "ia3", "vera", "oft", "shira")
TUNERS = (
    *(Row(f"lora, tuner {name}", "lora", ("lora", {"tuner": name})) for name in _NAMED),
    Row("lora as in configs/lora.yaml", "lora", targets=("llm",)),  # for the embedding model it is the line `lora`
)


def section(row: Row, target: Target) -> dict[str, Any] | None:
    """The config's section for a row; None where the row does not stand."""
    values = yaml.safe_load((CONFIGS / f"{row.config}.yaml").read_text("utf-8"))
    own = dict(values[target])
    named = [
        next(iter(item.items())) if isinstance(item, dict) else (item, {})
        for item in own["strategies"] or values["embedding"]["strategies"]
    ]
    strategies = [item for item in named if item[0] == row.config]
    if row.owner is not None:
        strategies = [row.owner, *(item for item in strategies if item[0] != row.owner[0])]
    targets = [row.targets or TARGETS, *(plugins.load("strategy", name).targets for name, _ in strategies)]
    if any(target not in each for each in targets):
        return None
    if any(item not in named for item in strategies):
        own.pop("learning_rate", None)  # another's than that of the strategy that decides what changes here
    own.pop("max_examples", None)
    return own | {
        "strategies": [{name: dict(settings)} for name, settings in strategies],
        "epochs": EPOCHS[target],
        "evaluations": 1,
    }


def plan(sets: tuple[str, str]) -> Iterator[tuple[str, Target, str]]:
    """Set, target and name of every row, those that matter most first."""
    for rows, order in ((STRATEGIES, sets), (TUNERS, sets)):
        for name in order:
            for target in TARGETS:
                if rows is STRATEGIES:
                    yield name, target, BASE
                yield from ((name, target, row.name) for row in rows if section(row, target) is not None)


def file_of(work: Path, place: tuple[str, Target, str]) -> Path:
    """Where a row is kept."""
    name, target, row = place
    return work / "rows" / name / target / f"{row.replace('/', '-').replace(' ', '_')}.json"


def measure(arguments: argparse.Namespace, place: tuple[str, Target, str]) -> None:
    """One row, in this process."""
    from strategies_data import DEMO, Domain, Sizes
    from strategies_row import measured

    sizes = Sizes(threads=arguments.threads, train=TRAINED)
    name, target, row_name = place
    row = next((row for row in (*STRATEGIES, *TUNERS) if row.name == row_name), None)
    tuning = {target: section(row, target) or {}} if row is not None else {}
    sources = sorted((DEMO, arguments.beir), key=lambda source: Path(source).name != name)
    domain = Domain(sources[0], arguments.work, sizes, tuning)
    found = measured(domain, Domain(sources[1], arguments.work, sizes), target, base=row is None)
    file = file_of(arguments.work, place)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"name": row_name, **found})


def prepare(arguments: argparse.Namespace, name: str) -> None:
    """What the rows of a set share, in this process."""
    from strategies_data import DEMO, Domain, Sizes

    source = next(source for source in (arguments.beir, DEMO) if Path(source).name == name)
    domain = Domain(source, arguments.work, Sizes(threads=arguments.threads, train=TRAINED))
    write_json(counts_of(arguments.work, name), domain.prepare())


def counts_of(work: Path, name: str) -> Path:
    """Where it is kept how much a set has of what."""
    return work / f"counts-{name}.json"


def child(arguments: argparse.Namespace, *more: str) -> bool:
    """Whether this script, called again with more arguments, went well."""
    words = ["--beir", arguments.beir, "--work", str(arguments.work), "--threads", str(arguments.threads), *more]
    env = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.run([sys.executable, "-W", "ignore", __file__, *words], env=env, check=False).returncode == 0


def run(arguments: argparse.Namespace, places: Sequence[tuple[str, Target, str]]) -> list[str]:
    """Measure the rows that are missing; returns those that could not be."""
    failed: list[str] = []
    made: dict[str, bool] = {}
    for place in places:
        name = place[0]
        if name not in made:
            made[name] = counts_of(arguments.work, name).exists() or child(arguments, "--prepare", name)
        if not made[name] or not (file_of(arguments.work, place).exists() or child(arguments, "--row", *place)):
            failed.append("/".join(place))
        print("/".join(place), "failed" if "/".join(place) in failed else "done", flush=True)
    return failed


def main() -> int:
    """Measure what is missing, or print what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", required=True, help="a folder in BEIR layout, with answers")
    parser.add_argument("--work", type=Path, required=True, help="where intermediate results and rows are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="measure only rows whose SET/TARGET/NAME holds this")
    parser.add_argument("--markdown", action="store_true", help="print the page; measure nothing")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments, arguments.prepare)
        return 0
    if arguments.row:
        measure(arguments, cast(tuple[str, Target, str], tuple(arguments.row)))
        return 0
    from strategies_markdown import page, summary

    places = [p for p in plan((Path(arguments.beir).name, "python-reference")) if arguments.only in "/".join(p)]
    failed = [] if arguments.markdown else run(arguments, places)
    kept = {place: file_of(arguments.work, place) for place in places}
    rows = {place: json.loads(file.read_text("utf-8")) for place, file in kept.items() if file.exists()}
    names = dict.fromkeys(name for name, _, _ in rows)
    counts = {name: json.loads(counts_of(arguments.work, name).read_text("utf-8")) for name in names}
    if arguments.markdown:
        if not rows:
            parser.error("no row has been measured yet")
        print(page(rows, counts, {"train": TRAINED, **EPOCHS}))
    else:
        print(json.dumps({"bench": "strategies", "counts": counts, "rows": summary(rows), "failed": failed}))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
