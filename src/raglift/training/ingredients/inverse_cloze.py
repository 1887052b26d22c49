"""Inverse clozes beside the questions: passages that nothing was asked about, in their authors' words."""

from __future__ import annotations

from raglift.config import EmbeddingConfig
from raglift.training.ingredients._base import Alternative, Ingredient, Size

_SHARE = 0.3
_ENOUGH = 5000
"""Questions past which sentences of the documents have little to add."""


def _alternatives(config: EmbeddingConfig, size: Size) -> list[Alternative]:
    enough = f"{size.pairs} questions are enough (from {_ENOUGH} on)" if size.pairs >= _ENOUGH else ""
    return [Alternative(f"{_SHARE:.0%} inverse clozes", {"inverse_cloze": _SHARE}, enough)]


PLUGIN = Ingredient(3, "Lee et al. 2019, section 4", _alternatives)
