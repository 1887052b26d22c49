"""How likely a language model finds what it is to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from raglift.progress import Progress
from raglift.training.examples import Example, ExampleBatches
from raglift.training.next_token import following, learning, logits_of


class MeanLogProbability:
    """The mean over examples of the mean log-probability of the target's tokens, in nats.

    The end token after a target is left out of it: what stops at a line end never writes one, and it would reward a
    model for nothing but having learned it.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        batch_size: int,
        display: Progress,
    ) -> None:
        self._batches = ExampleBatches(examples, tokenizer, device, batch_size, seed=0)
        self._count = len(examples)
        self._display = display

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands; at most 0."""
        total = 0.0
        with (
            torch.no_grad(),
            self._display.stage("scoring the held-out examples", len(self._batches), "batches") as bar,
        ):
            for index in range(len(self._batches)):
                total += _log_probability(model, self._batches.batch(0, index)).sum().item()
                bar.advance(1)
        return total / self._count


def _log_probability(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    """Mean log-probability of each row's labels but the last, shape (B,)."""
    wanted = learning(batch)
    wanted[:, -2] = False  # rows are padded on the left, so that the end token is the last of each
    targets = following(batch["labels"])[wanted]
    each = torch.log_softmax(logits_of(model, batch, wanted).float(), dim=-1).gather(1, targets[:, None]).squeeze(1)
    summed = each.new_zeros(len(wanted)).index_add_(0, wanted.nonzero()[:, 0], each)
    return summed / wanted.sum(1)
