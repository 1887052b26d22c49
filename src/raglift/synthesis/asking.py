"""What a run's writer is asked for: its question kinds, from one place."""

from __future__ import annotations

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.synthesis.kinds._base import QuestionKind


def kinds_of(settings: SynthesisConfig) -> dict[str, QuestionKind]:
    """The run's question kinds by name."""
    return {name: plugins.load("question kind", name) for name in settings.kinds}
