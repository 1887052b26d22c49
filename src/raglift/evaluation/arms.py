"""The arms: which model retrieves, which one answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Which = Literal["base", "tuned", "none"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One pipeline to be scored. Without a language model only its rankings are; without retrieval only its answers."""

    name: str
    embedding: Which
    llm: Which
    retrieval: Literal["dense", "bm25", "hybrid", "none"]
    description: str


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


def arm_named(name: str) -> Arm:
    """The arm of that name; KeyError if there is none."""
    return {arm.name: arm for arm in ARMS}[name]


def dense_arm(embedding: str, llm: str) -> str:
    """The name of the arm that retrieves and answers with these models."""
    return next(arm.name for arm in ARMS if (arm.embedding, arm.llm, arm.retrieval) == (embedding, llm, "dense"))
