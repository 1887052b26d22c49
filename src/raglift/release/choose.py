"""The choice of what would be released, and the sentence that says whether tuning was worth it.

Each tuned model was already chosen over the base on the development split, or was not. The test questions can only
veto: an arm that is significantly worse than the base on a headline metric on any question set is not released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raglift.evaluation.arms import BASE, dense_arm

HEADLINE = {"embedding": "nDCG@10", "llm": "token_f1"}
_NAMES = {"embedding": "embedding model", "llm": "language model"}


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
    """What would be released: as much tuned as the development split chose and the test questions do not veto.

    Args:
        on_dev: Target -> what the development split chose; "base" where nothing beat it.
        verdicts: The test verdicts against the base arm.
        metrics: Target -> its headline metric.
    """
    reasons = [
        f"{_NAMES[target]}: nothing beat the base on the development split"
        if choice == "base"
        else f"{_NAMES[target]}: {choice} was best on the development split"
        for target, choice in on_dev.items()
    ]
    for tuned in (("embedding", "llm"), ("embedding",), ("llm",), ()):
        if any(on_dev[target] == "base" for target in tuned):
            continue
        picked = {target: "tuned" if target in tuned else "base" for target in on_dev}
        arm = dense_arm(picked["embedding"], picked["llm"])
        headline_verdicts = [v for v in verdicts if v["arm"] == arm and v["metric"] in metrics.values()]
        worse = [f"{v['metric']} on the {v['question_set']} set" for v in headline_verdicts if v["decision"] == "worse"]
        if worse:
            reasons.append(f"{arm} is not released: {' and '.join(worse)} got worse")
            continue
        better = any(v["decision"] == "better" for v in headline_verdicts)
        return Choice(arm, picked["embedding"], picked["llm"], arm != BASE and better, "; ".join(reasons))
    raise AssertionError("the base arm has no verdict against itself")


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
                if (v["question_set"], v["arm"], v["metric"]) == (name, choice.arm, metric) and v["n"] > 0
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
