"""The model card of a model that leaves its run: with what the run's evaluation found out about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raglift.artifacts import Artifact
from raglift.evaluation.arms import BASE, RERANKED, dense_arm
from raglift.records import Target
from raglift.training.card import FACTS, write_readme
from raglift.training.card_text import Evaluated, Figure

_ARMS = {"embedding": dense_arm("tuned", "base"), "llm": dense_arm("base", "tuned"), "rerank": RERANKED}
"""Target -> the arm that differs from the base in that model alone."""


def write_card(folder: Path, artifact: Artifact, report: Mapping[str, Any], target: Target) -> None:
    """Write README.md into a folder that an exported model lies in, plain or as an adapter; nothing where the artifact
    holds no tuned model.

    Args:
        artifact: Of the training that the model came from.
        report: The run's report.json.
    """
    if (artifact.path / FACTS).exists():
        evaluated = Evaluated(_verdict(report, target), tuple(figures(report, target)), artifact.seconds)
        write_readme(artifact.path, folder, evaluated)


def _verdict(report: Mapping[str, Any], target: Target) -> str:
    """The run's verdict in a sentence, and what else than the model the figures of the target are due to."""
    verdict = str(report["verdict"])
    if target == "rerank":
        return f"{verdict} The figures are of the tuned embedding model, the first stage and the reranker together."
    moved = target == "embedding" and report["training"].get("index", {}).get("chosen", "base") != "base"
    return (
        f"{verdict} The tuned index's vectors were moved after it (NUDGE); the figures are of both."
        if moved
        else verdict
    )


def figures(report: Mapping[str, Any], target: Target) -> Iterator[Figure]:
    """Every metric that the evaluation compared with the base's, where nothing but this model was tuned.

    Questions that people wrote come first.
    """
    arm = _ARMS[target]
    verdicts = [v for v in report["verdicts"] if (v["arm"], v["against"]) == (arm, BASE) and v["n"]]
    origin = {name: described["origin"] for name, described in report["question_sets"].items()}
    for verdict in sorted(verdicts, key=lambda v: (origin[v["question_set"]] != "human", v["question_set"])):
        name, metric = verdict["question_set"], verdict["metric"]
        family = "retrieval" if metric in report["retrieval"].get(name, {}).get(arm, {}) else "response"
        if (family == "response") != (target == "llm"):
            continue
        base, tuned = (report[family][name][which][metric]["value"] for which in (BASE, arm))
        interval = verdict["delta"], verdict["ci_low"], verdict["ci_high"]
        yield Figure(name, metric, base, tuned, *interval, verdict["n"], verdict["decision"])
