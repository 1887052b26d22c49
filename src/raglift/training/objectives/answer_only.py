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
from raglift.training.next_token import following, learning, logits_of, predicting
from raglift.training.objective import Objective


class AnswerOnly(Objective):
    """Cross-entropy over the answer's tokens and the end-of-turn token; the prompt carries no loss unless it is given a
    weight.

    Logits are computed where an answer is learned; a weight on the prompt pays for those of the prompt.

    Inputs:
        A batch is a dict of `input_ids`, `attention_mask` and `labels`, as `ExampleBatches` makes it; `labels`, (B, L),
        is -100 outside the answer.

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
            wanted = self._wanted(batch)
            targets = following(batch["input_ids"])[wanted]
            losses = cross_entropy(logits_of(model, batch, wanted).float(), targets, reduction="none")
            weights = self._weights(batch, wanted)
            return (losses * weights).sum() / weights.sum()

        return compute

    def _wanted(self, batch: Any) -> Tensor:
        return predicting(batch) if self.prompt_weight else learning(batch)

    def _weights(self, batch: Any, wanted: Tensor) -> Tensor:
        """What each prediction counts: nothing stands before an example's first token to predict it."""
        return torch.where(following(batch["labels"])[wanted] != IGNORED, 1.0, self.prompt_weight)

    def weight(self, batch: Any) -> float:
        """The learned tokens by their weights, of which the loss is the mean."""
        return float(self._weights(batch, self._wanted(batch)).sum())


PLUGIN = AnswerOnly
