"""What a run's writer is asked for, and how: its question kinds and its prompt style, from one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.styles._base import PromptStyle


@dataclass(frozen=True, slots=True)
class Asking:
    """The question kinds by name, and the style in which the writer is asked for them."""

    kinds: Mapping[str, QuestionKind]
    style: PromptStyle


def kinds_of(settings: SynthesisConfig) -> dict[str, QuestionKind]:
    """The run's question kinds by name."""
    return {name: plugins.load("question kind", name) for name in settings.kinds}


def asking_of(settings: SynthesisConfig) -> Asking:
    """The run's question kinds and prompt style."""
    return Asking(kinds_of(settings), plugins.load("prompt style", settings.style))


@cache
def texts_of(kind: str) -> int:
    """How many texts a question of this kind is about; 1 for what no plug-in of this name wrote."""
    if kind not in plugins.names("question kind"):
        return 1
    loaded: QuestionKind = plugins.load("question kind", kind)
    return loaded.texts
