"""What tuning brings to retrieval, from documents alone: every arm of a run against what needs no training.

Each set in BEIR layout is a run of raglift, with the settings that a run has but for these: questions are written about
five sixths of the documents and choose in the rest, the language model stays as it is, and a language model puts the
first passages in order by the likelihood of the question. The set's own questions, which nothing has seen, judge.

    untrained   bm25, base (the embedding model alone), hybrid
    trained     tuned_embedding, tuned_hybrid, reranked (tuned_hybrid, put in order)

`against` holds the differences of trained arms to untrained ones, paired by question, with 95% intervals clustered by
document.

    python scripts/bench/retrieval_quality.py --beir DIR [DIR ...] --work FOLDER

What is in FOLDER is not made again. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import raglift
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling, compare
from raglift.records import QAPair, Score, read_jsonl

METRICS = ("nDCG@10", "Success@5")
UNTRAINED = ("bm25", "base", "hybrid")
TRAINED = ("tuned_embedding", "tuned_hybrid", "reranked")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Metric -> arm -> question -> value."""


def config(beir: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A run over a set."""
    found = {
        "run": Path(beir).name,
        "workspace": str(arguments.work / Path(beir).name),
        "seed": arguments.seed,
        "data": {"beir": beir},
        "corpus": {"train": 0.83, "dev": 0.17, "test": 0.0},
        "synthesis": {"max_questions": arguments.questions},
        "llm": {"strategies": []},
        "evaluation": {"retrieval": list(METRICS), "response": [], "max_answers": 1},
        "runtime": {"threads": arguments.threads, "trackers": []},
    }
    if arguments.reranker:
        found["rerank"] = {"model": arguments.reranker, "strategies": [], "depth": arguments.depth}
    return found


def values_of(run: raglift.RunResult) -> tuple[Values, Resampling]:
    """What each of the set's questions scored in each arm, and how questions hang together."""
    folder = run.artifact("evaluation").path
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for score in read_jsonl(folder / "human-scores.jsonl", Score):
        if score.value is not None:
            found[score.metric][score.arm][score.qa_id] = score.value
    return found, Resampling(clusters(read_jsonl(folder / "human-questions.jsonl", QAPair)))


def differences(values: Values, resampling: Resampling) -> dict[str, Any]:
    """Metric -> trained arm -> untrained arm -> difference and its interval."""
    return {
        metric: {
            arm: {other: _lift(by_arm[arm], by_arm[other], resampling) for other in UNTRAINED}
            for arm in TRAINED
            if arm in by_arm
        }
        for metric, by_arm in values.items()
    }


def _lift(arm: Mapping[str, float], other: Mapping[str, float], resampling: Resampling) -> list[float]:
    found = compare(arm, other, resampling)
    return [round(value, 4) for value in (found.delta, found.ci_low, found.ci_high)]


def measured(beir: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One set's figures."""
    run = raglift.run(config(beir, arguments))
    values, resampling = values_of(run)
    means = {
        metric: {arm: round(sum(found.values()) / len(found), 4) for arm, found in by_arm.items()}
        for metric, by_arm in values.items()
    }
    chosen = {name: found["chosen"] for name, found in run.report["training"].items()}
    return {
        "questions": len(values[METRICS[0]]["base"]),
        "chosen": chosen,
        "means": means,
        "against": differences(values, resampling),
        "seconds": {stage["name"]: round(stage["seconds"]) for stage in run.report["stages"] if stage["seconds"] >= 1},
    }


def main() -> None:
    """Run the sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--questions", type=int, help="most questions written for a set; all passages otherwise")
    parser.add_argument("--reranker", default="SmolLM2-135M-Instruct", help="a language model, or '' for none")
    parser.add_argument("--depth", type=int, default=20, help="passages that are put in order")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = {}
    for beir in arguments.beir:
        name = Path(beir).name
        sets[name] = measured(beir, arguments)
        print(name, json.dumps(sets[name]), flush=True)
    print(json.dumps({"bench": "retrieval_quality", "seed": arguments.seed, "depth": arguments.depth, "sets": sets}))


if __name__ == "__main__":
    main()
