"""The choice of what would be released, and the sentence that says whether tuning was worth it.

Each tuned model was already chosen over the base on the development split, or was not. The test questions can only
veto: a tuned model that is significantly worse on its headline metric on any question set is not released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raglift.evaluation.arms import BASE, dense_arm

HEADLINE = {"embedding": "nDCG@10", "llm": "token_f1"}
_ALONE = {"embedding": "tuned_embedding", "llm": "tuned_llm"}


@dataclass(frozen=True, slots=True)
class Choice:
    """The arm that would be released, which of its models are tuned, whether that beat the base, and the reasons."""

    arm: str
    embedding: str
    llm: str
    beat_base: bool
    why: str


def headline(target: str, metrics: Sequence[str]) -> str | None:
    """The metric that a target is judged by: nDCG@10 or token F1 where measured, else the first that is."""
    return HEADLINE[target] if HEADLINE[target] in metrics else next(iter(metrics), None)


def choose(
    on_dev: Mapping[str, str], verdicts: Sequence[Mapping[str, Any]], metrics: Mapping[str, str | None]
) -> Choice:
    """What would be released.

    Args:
        on_dev: Target -> what the development split chose; "base" where nothing beat it.
        verdicts: The test verdicts against the base arm.
        metrics: Target -> its headline metric.
    """
    picked, reasons = {}, []
    for target, choice in on_dev.items():
        worse = [
            v["question_set"]
            for v in verdicts
            if v["arm"] == _ALONE[target] and v["metric"] == metrics[target] and v["decision"] == "worse"
        ]
        name = "embedding model" if target == "embedding" else "language model"
        if choice == "base":
            picked[target] = "base"
            reasons.append(f"{name}: base, since nothing beat it on the development split")
        elif worse:
            picked[target] = "base"
            reasons.append(f"{name}: base, since the tuned one is worse on the {' and '.join(worse)} test questions")
        else:
            picked[target] = "tuned"
            reasons.append(f"{name}: tuned ({choice}), the best on the development split")
    arm = dense_arm(picked["embedding"], picked["llm"])
    better = [v for v in verdicts if v["arm"] == arm and v["metric"] in metrics.values() and v["decision"] == "better"]
    return Choice(arm, picked["embedding"], picked["llm"], arm != BASE and bool(better), "; ".join(reasons))


def sentence(choice: Choice, summary: Mapping[str, Any], metrics: Mapping[str, str | None]) -> str:
    """The verdict in one sentence, on the questions of people where there are any."""
    if choice.arm == BASE:
        return "Nothing beat the base models: they would be released as they are."
    sets = summary["question_sets"]
    name = min(sets, key=lambda s: (sets[s]["origin"] != "human", s), default=None)
    parts = []
    for target, family in (("llm", "response"), ("embedding", "retrieval")):
        metric = metrics[target]
        found = next(
            (
                v
                for v in summary["verdicts"]
                if v["question_set"] == name and v["arm"] == choice.arm and v["metric"] == metric
            ),
            None,
        )
        if found is not None and name is not None:
            before, after = (summary[family][name][arm][metric]["value"] for arm in (BASE, choice.arm))
            parts.append(
                f"{metric} {before:.3f} to {after:.3f} ({found['delta']:+.3f}, 95% interval {found['ci_low']:+.3f} to "
                f"{found['ci_high']:+.3f}: {found['decision']})"
            )
    opening = "Tuning was worth it" if choice.beat_base else "Tuning showed no certain gain"
    who = "questions that people wrote" if name is not None and sets[name]["origin"] == "human" else f"{name} questions"
    count = sets[name]["questions"] if name is not None else 0
    return f"{opening}: on {count} {who}, {' and '.join(parts) or 'nothing could be compared'}."
