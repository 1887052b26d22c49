"""Next-token cross-entropy on the answer alone, for the language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from raglift.records import Target
from raglift.training.objective import Objective

IGNORED = -100


class AnswerOnly(Objective):
    """Cross-entropy over the answer's tokens and the end-of-turn token; the prompt carries no loss.

    Logits are computed only for the last positions of each row, where the answers stand: rows are padded on the left,
    so every answer ends at the last position. A 49,000-word output layer over a whole prompt would cost more than the
    transformer below it.

    Inputs:
        A batch is a dict of `input_ids`, `attention_mask` and `labels`, each (B, L); `labels` is -100 outside the
        answer.

    References:
        Zhang et al. 2024, "RAFT: Adapting Language Model to Domain Specific RAG".
    """

    target: ClassVar[Target] = "llm"
    when: ClassVar[str] = "question answering; the default for language models"
    paper: ClassVar[str] = "Zhang et al. 2024, RAFT"

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch."""

        def compute(model: nn.Module, batch: Any) -> Tensor:
            labels = batch["labels"]
            learned = int((labels != IGNORED).any(0).nonzero()[0])
            keep = labels.shape[1] - max(learned, 1) + 1  # nothing stands before the first position to predict it
            positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
            logits = model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                position_ids=positions,
                use_cache=False,
                logits_to_keep=keep,
            ).logits
            return torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, -keep + 1 :].flatten(), ignore_index=IGNORED
            )

        return compute

    def weight(self, batch: Any) -> float:
        """The learned tokens, of which the loss is the mean."""
        return float((batch["labels"] != IGNORED).sum())


PLUGIN = AnswerOnly
