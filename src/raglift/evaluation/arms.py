"""The arms: which model retrieves, which one answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from raglift.config import Config

Which = Literal["base", "tuned", "none"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One pipeline to be scored. Without a language model only its rankings are; without retrieval only its answers."""

    name: str
    embedding: Which
    llm: Which
    retrieval: Literal["dense", "bm25", "hybrid", "none"]
    description: str
    reranked: bool = False
    """Whether a cross-encoder puts what was retrieved in order, unless none was chosen."""
    transform: str = ""
    """What puts the questions in other words before they are searched for; empty: nothing."""


BASE = "base"
ARMS = (
    Arm(BASE, "base", "base", "dense", "both models as they come"),
    Arm("tuned_embedding", "tuned", "base", "dense", "tuned embedding model, base language model"),
    Arm("tuned_llm", "base", "tuned", "dense", "base embedding model, tuned language model"),
    Arm("tuned_both", "tuned", "tuned", "dense", "both models tuned"),
    Arm("closed_book", "none", "base", "none", "base language model, no passages"),
    Arm("tuned_llm_closed_book", "none", "tuned", "none", "tuned language model, no passages"),
    Arm("bm25", "none", "none", "bm25", "words alone (BM25)"),
    Arm("hybrid", "base", "none", "hybrid", "base embedding model and BM25, ranks fused"),
    Arm("tuned_hybrid", "tuned", "none", "hybrid", "tuned embedding model and BM25, ranks fused"),
)


RERANKED, TUNED_ALL = "reranked", "tuned_all"
REWORDED = "tuned_hybrid"
"""The arm that query transforms are tried on."""


def arms_of(config: Config) -> tuple[Arm, ...]:
    """The arms of a run: with a section `rerank` two more, with `retrieval.transforms` one more each."""
    first_stage = config.rerank.first_stage if config.rerank is not None else None
    return arms_with(first_stage, [spec.name for spec in config.retrieval.transforms])


def arms_with(first_stage: Literal["dense", "hybrid"] | None, transforms: Sequence[str] = ()) -> tuple[Arm, ...]:
    """The arms with a reranker over this first stage (None: without one), and with these query transforms."""
    found = [*ARMS]
    if first_stage is not None:
        order = "its passages put in order by the reranker"
        found += [
            Arm(RERANKED, "tuned", "base", first_stage, f"tuned embedding model, {order}, base language model", True),
            Arm(
                TUNED_ALL, "tuned", "tuned", first_stage, f"tuned embedding model, {order}, tuned language model", True
            ),
        ]
    plain = arm_named(REWORDED)
    for name in transforms:
        about = f"{plain.description}, for questions reworded by {name}"
        found.append(replace(plain, name=f"{REWORDED}+{name}", description=about, transform=name))
    return tuple(found)


def arm_named(name: str, arms: Sequence[Arm] = ARMS) -> Arm:
    """The arm of that name; KeyError if there is none."""
    return {arm.name: arm for arm in arms}[name]


def dense_arm(embedding: str, llm: str) -> str:
    """The name of the arm that retrieves and answers with these models."""
    return next(arm.name for arm in ARMS if (arm.embedding, arm.llm, arm.retrieval) == (embedding, llm, "dense"))
