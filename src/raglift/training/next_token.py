"""A language model's predictions on a padded batch, where something is to be learned from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

IGNORED = -100
"""The label of a token that carries no loss."""


def kept(labels: Tensor) -> int:
    """Positions at the end of the rows (B, L) whose logits are needed: those of the labels and the one before them."""
    learned = int((labels != IGNORED).any(0).nonzero()[0])
    return labels.shape[1] - max(learned, 1) + 1  # nothing stands before the first position to predict it


def logits_of(model: nn.Module, batch: Any, keep: int) -> Tensor:
    """Logits of the last `keep` positions, (B, keep, V); rows are padded on the left, and padding takes no position."""
    found: Tensor = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=(batch["attention_mask"].cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=keep,
    ).logits
    return found
