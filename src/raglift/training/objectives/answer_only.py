"""Next-token cross-entropy on the answer alone, for the language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raglift.records import Target
from raglift.training.next_token import IGNORED as IGNORED
from raglift.training.next_token import kept, logits_of
from raglift.training.objective import Objective


class AnswerOnly(Objective):
    """Cross-entropy over the answer's tokens and the end-of-turn token; the prompt carries no loss unless it is given a
    weight.

    Logits are computed only for the last positions of each row, where the answers stand: rows are padded on the left,
    so every answer ends at the last position. A 49,000-word output layer over a whole prompt would cost more than the
    transformer below it; a weight on the prompt pays for that.

    Inputs:
        A batch is a dict of `input_ids`, `attention_mask` and `labels`, each (B, L); `labels` is -100 outside the
        answer.

    References:
        Zhang et al. 2024, "RAFT: Adapting Language Model to Domain Specific RAG".
        Huerta-Enochian and Ko 2024, "Instruction Fine-Tuning: Does Prompt Loss Matter?" (the mean of the tokens'
        losses, weighted).
    """

    target: ClassVar[Target] = "llm"
    when: ClassVar[str] = "question answering; the default for language models"
    paper: ClassVar[str] = "Zhang et al. 2024; Huerta-Enochian and Ko 2024"

    prompt_weight: float = Field(
        default=0.0, ge=0, le=1, description="what a token of the prompt counts beside one of the answer"
    )

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch."""

        def compute(model: nn.Module, batch: Any) -> Tensor:
            labels = batch["labels"]
            keep = labels.shape[1] if self.prompt_weight else kept(labels)
            logits = logits_of(model, batch, keep)[:, :-1].flatten(0, 1).float()
            if not self.prompt_weight:
                return cross_entropy(logits, labels[:, -keep + 1 :].flatten(), ignore_index=IGNORED)
            losses = cross_entropy(logits, batch["input_ids"][:, 1:].flatten(), reduction="none")
            weights = self._weights(batch).flatten()
            return (losses * weights).sum() / weights.sum()

        return compute

    def _weights(self, batch: Any) -> Tensor:
        """What each token but the first counts, (B, L - 1): nothing stands before a row's first to predict it."""
        present = batch["attention_mask"].bool()
        predicted = present[:, 1:] & present[:, :-1]
        prompt = torch.where(predicted, self.prompt_weight, 0.0)
        return torch.where(batch["labels"][:, 1:] != IGNORED, 1.0, prompt)

    def weight(self, batch: Any) -> float:
        """The learned tokens by their weights, of which the loss is the mean."""
        if self.prompt_weight:
            return float(self._weights(batch).sum())
        return float((batch["labels"] != IGNORED).sum())


PLUGIN = AnswerOnly
