"""The choice of what would be released, and the sentence that says whether tuning was worth it.

Each tuned model was already chosen over the base on the development split, or was not. The test questions can only
veto: an arm that is significantly worse than the base on a headline metric on any question set is not released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raglift.evaluation.arms import BASE, RERANKED, TUNED_ALL, dense_arm
from raglift.evaluation.scale import scale_of
from raglift.evaluation.statistics import holm

_ALPHA = 0.05
HEADLINE = {"embedding": "nDCG@10", "llm": "token_f1"}
_NAMES = {"embedding": "embedding model", "llm": "language model", "rerank": "reranker"}
_ORDER = (("rerank", "llm"), ("rerank",), ("embedding", "llm"), ("embedding",), ("llm",), ())
"""What is tuned, from as much as there is down; a reranker stands on whichever embedding model was chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The arm that would be released, which of its models are tuned, whether that beat the base, and the reasons."""

    arm: str
    embedding: str
    llm: str
    beat_base: bool
    why: str


def headline(target: str, metrics: Sequence[str]) -> str | None:
    """The metric that a target is judged by: nDCG@10 or token F1 where measured, else the first that judges."""
    if HEADLINE[target] in metrics:
        return HEADLINE[target]
    return next((metric for metric in metrics if scale_of(metric).judged), None)


def choose(
    on_dev: Mapping[str, str],
    verdicts: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, str | None],
    judge: str | None,
) -> Choice:
    """What would be released: as much tuned as the development split chose and the test questions do not veto.

    Args:
        on_dev: Target -> what the development split chose; "base" where nothing beat it.
        verdicts: The test verdicts against the base arm.
        metrics: Target -> its headline metric.
        judge: The question set that decides whether the base was beaten (`judging_set`).
    """
    reasons = [
        f"{_NAMES[target]}: nothing beat the base on the development split"
        if choice == "base"
        else f"{_NAMES[target]}: {choice} was best on the development split"
        for target, choice in on_dev.items()
    ]
    for tuned in _ORDER:
        if any(on_dev.get(target, "base") == "base" for target in tuned):
            continue
        picked = {target: "tuned" if target in tuned else "base" for target in ("embedding", "llm")}
        if "rerank" in tuned:
            picked["embedding"] = "base" if on_dev["embedding"] == "base" else "tuned"
            arm = TUNED_ALL if "llm" in tuned else RERANKED
        else:
            arm = dense_arm(picked["embedding"], picked["llm"])
        headlines = [v for v in verdicts if v["arm"] == arm and v["metric"] in metrics.values()]
        worse = [f"{v['metric']} on the {v['question_set']} set" for v in headlines if v["decision"] == "worse"]
        if worse:
            reasons.append(f"{arm} is not released: {' and '.join(worse)} got worse")
            continue
        beat = arm != BASE and _beats([v for v in headlines if v["question_set"] == judge])
        return Choice(arm, picked["embedding"], picked["llm"], beat, "; ".join(reasons))
    raise AssertionError("the base arm has no verdict against itself")


def _beats(headlines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the headline metrics is better, corrected over them once more: either would have been told."""
    corrected = holm([float(v["p"]) for v in headlines])
    return any(v["decision"] == "better" and p <= _ALPHA for v, p in zip(headlines, corrected, strict=True))


def judging_set(sets: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The question set that the verdict speaks of: people's where there is one."""
    return min(sets, key=lambda name: (sets[name]["origin"] != "human", name), default=None)


def sentence(choice: Choice, summary: Mapping[str, Any], metrics: Mapping[str, str | None]) -> str:
    """The verdict in one sentence, on the questions of people where there are any."""
    if choice.arm == BASE:
        return "Nothing beat the base models: they would be released as they are."
    name = judging_set(summary["question_sets"])
    parts = []
    for target, family in (("llm", "response"), ("embedding", "retrieval")):
        found = next(
            (
                v
                for v in summary["verdicts"]
                if (v["question_set"], v["arm"], v["metric"]) == (name, choice.arm, metrics[target]) and v["n"]
            ),
            None,
        )
        if found is not None:
            before, after = (summary[family][name][arm][metrics[target]]["value"] for arm in (BASE, choice.arm))
            parts.append(
                f"{metrics[target]} {before:.3f} to {after:.3f} ({found['delta']:+.3f}, 95% interval "
                f"{found['ci_low']:+.3f} to {found['ci_high']:+.3f}, {found['n']} questions: {found['decision']})"
            )
    opening = "Tuning was worth it" if choice.beat_base else "Tuning showed no certain gain"
    if not parts:
        return f"{opening}: there were no test questions to compare on."
    human = summary["question_sets"][name]["origin"] == "human"
    who = "questions that people wrote" if human else f"{name} questions"
    return f"{opening}, on {who}: {' and '.join(parts)}."
