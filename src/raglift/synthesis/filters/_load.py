"""The filters that a run uses."""

from __future__ import annotations

from collections.abc import Sequence

from raglift import plugins
from raglift.synthesis.candidate import QuestionFilter
from raglift.synthesis.filters.toxicity import Toxicity


def load_filters(names: Sequence[str] | None, blocked_words: Sequence[str] = ()) -> list[QuestionFilter]:
    """The named filters in their order, or all by name.

    Args:
        blocked_words: Further words for the `toxicity` filter.
    """
    found: list[QuestionFilter] = []
    for name in names if names is not None else plugins.names("question filter"):
        loaded: QuestionFilter = plugins.load("question filter", name)
        found.append(loaded.with_words(blocked_words) if isinstance(loaded, Toxicity) else loaded)
    return found
