"""What an ingredient of the recipe is: one thing about a training that may be done otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raglift.config import EmbeddingConfig


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to learn from.

    Attributes:
        pairs: Questions with their passages, of the train split or given.
        passages: Passages of the train split.
    """

    pairs: int
    passages: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to train.

    Attributes:
        label: What the run calls it.
        update: Keys of the config's section `embedding` and their values.
        why_not: Why it is not worth a training with this much data; empty where it is.
    """

    label: str
    update: Mapping[str, Any]
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing about a training that may be done otherwise; its name is its file's.

    Attributes:
        place: Where it comes in the order of the search: what matters more, or decides on what comes after it, first.
        paper: Why it may pay.
        alternatives: Other ways than a section's own, the likelier to pay first. There are as many whatever the section
            says, so that their number is known before the first training.
    """

    place: int
    paper: str
    alternatives: Callable[[EmbeddingConfig, Size], Sequence[Alternative]]
