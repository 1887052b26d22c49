"""What an embedding model that was tuned on one collection's questions brings to another collection.

As LlamaIndex's published example of tuning does it: questions and passages of one filing train, the questions of
another judge. Nothing is written for training: `embedding.pairs` names the training set, in any form that it takes, and
`embedding.train_on: pairs` leaves everything else out. Questions that raglift writes about the test set's documents
choose between the checkpoints, the mixes and the base; the test set's own queries, which nothing has seen, judge.

    untrained   bm25, base (the embedding model alone), hybrid
    trained     tuned_embedding, tuned_hybrid

`against` holds the differences of trained arms to untrained ones, paired by question, with 95% intervals clustered by
document. All else is a run's default.

    python scripts/bench/transfer.py --train DIR --test DIR --work FOLDER
    python scripts/bench/transfer.py --train DIR --test DIR --work FOLDER --whole

Passages have up to 160 tokens; with `--whole` each document is one, as in the published figures. What is in FOLDER is
not made again. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from retrieval_quality import METRICS, differences, values_of

import raglift

ARMS = ("bm25", "base", "hybrid", "tuned_embedding", "tuned_hybrid")
WHOLE = 1_000_000
"""Tokens of a passage that no document has."""


def config(arguments: argparse.Namespace) -> dict[str, Any]:
    """The run: all documents are held out, and the training set trains alone."""
    cut = {"chunk_tokens": WHOLE} if arguments.whole else {}
    embedding = {"model": arguments.model} if arguments.model else {}
    return {
        "run": f"{Path(arguments.test).name}{'-whole' if arguments.whole else ''}",
        "workspace": str(arguments.work),
        "seed": arguments.seed,
        "data": {"beir": arguments.test},
        "corpus": {"train": 0.0, "dev": 1.0, "test": 0.0, **cut},
        "synthesis": {"max_questions": arguments.questions},
        "embedding": {"pairs": arguments.train, "train_on": "pairs", **embedding},
        "llm": {"strategies": []},
        "retrieval": {"top_k": 1},  # nothing is answered
        "evaluation": {"retrieval": list(METRICS), "response": [], "max_answers": 1},
        "runtime": {"threads": arguments.threads, "trackers": []},
    }


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of the run."""
    run = raglift.run(config(arguments))
    values, resampling = values_of(run)
    rows = {row["reason"]: row["count"] for row in run.report["funnel"] if row["stage"] == "pairs"}
    training = run.report["training"]["embedding"]
    return {
        "questions": len(values[METRICS[0]]["base"]),
        "passages": len(run.corpus.chunks),
        "pairs": rows,
        "chosen": training["chosen"],
        "dev": {candidate["name"]: round(candidate["dev"], 4) for candidate in training["candidates"]},
        "means": {
            metric: {arm: round(sum(by_arm[arm].values()) / len(by_arm[arm]), 4) for arm in ARMS}
            for metric, by_arm in values.items()
        },
        "against": differences(values, resampling),
        "seconds": {stage["name"]: round(stage["seconds"]) for stage in run.report["stages"] if stage["seconds"] >= 1},
    }


def main() -> None:
    """Run it and print the arms, and then all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="questions with their passages, as embedding.pairs takes them")
    parser.add_argument("--test", required=True, help="a folder in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="the workspace of the run")
    parser.add_argument("--whole", action="store_true", help="a document is one passage")
    parser.add_argument("--questions", type=int, default=200, help="most questions written to choose by")
    parser.add_argument("--model", help="the embedding model; raglift's default otherwise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = measured(arguments)
    for metric, means in found["means"].items():
        for arm, mean in means.items():
            intervals = found["against"][metric].get(arm, {})
            said = "; ".join(
                f"{d:+.4f} [{low:+.4f}, {high:+.4f}] to {name}" for name, (d, low, high) in intervals.items()
            )
            print(f"{metric:10} {arm:16} {mean:.4f}  {said}".rstrip())
    settings = {name: getattr(arguments, name) for name in ("train", "test", "whole", "questions", "model", "seed")}
    print(json.dumps({"bench": "transfer", "settings": settings, **found}))


if __name__ == "__main__":
    main()
