"""Batches of (prompt, answer) examples for the language model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from raglift.models.end_to_end import as_mask
from raglift.training.next_token import IGNORED

_WINDOW = 8
"""Batches are cut from windows of this many, sorted by length: little padding, still shuffled."""


@dataclass(frozen=True, slots=True)
class Example:
    """A rendered prompt and the answer that is to follow it."""

    prompt: str
    answer: str


def encode(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Token ids of prompt and answer, and the labels: the answer and the end token learn, the prompt does not.

    The two are encoded apart, as in serving, where the answer's tokens are made after the prompt's.
    """
    prompt: list[int] = tokenizer(example.prompt, add_special_tokens=False)["input_ids"]
    answer: list[int] = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    learned = [*answer, int(tokenizer.eos_token_id)]
    return prompt + learned, [IGNORED] * len(prompt) + learned


class ExampleBatches:
    """`Batches` of examples of like length, padded on the left or, if `end_to_end`, laid one after the other."""

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        batch_size: int,
        seed: int,
        end_to_end: bool = False,
    ) -> None:
        self._rows = [encode(example, tokenizer) for example in examples]
        self._pad = int(tokenizer.pad_token_id)
        self._device = device
        self._size = batch_size
        self._seed = seed
        self.end_to_end = end_to_end

    @property
    def rows(self) -> list[tuple[list[int], list[int]]]:
        """Token ids and labels of every example, as they are trained on."""
        return self._rows

    def __len__(self) -> int:
        return -(-len(self._rows) // self._size)

    def batch(self, epoch: int, index: int) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each (B, L).

        End to end: `input_ids`, `labels` and `position_ids`, each (1, tokens), and as `attention_mask` the lengths of
        the examples (`raglift.models.end_to_end.as_mask`).
        """
        rng = random.Random(f"{self._seed}/{epoch}")
        order = list(range(len(self._rows)))
        rng.shuffle(order)
        window = self._size * _WINDOW
        for start in range(0, len(order), window):
            order[start : start + window] = sorted(
                order[start : start + window], key=lambda row: len(self._rows[row][0])
            )
        batches = [order[start : start + self._size] for start in range(0, len(order), self._size)]
        rng.shuffle(batches)
        rows = [self._rows[row] for row in batches[index]]
        return self._joined(rows) if self.end_to_end else self._pad_left(rows)

    def _joined(self, rows: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        def joined(values: Iterable[Iterable[int]]) -> Tensor:
            return torch.tensor([list(chain.from_iterable(values))], device=self._device)

        return {
            "input_ids": joined(ids for ids, _ in rows),
            "attention_mask": as_mask([len(ids) for ids, _ in rows]),
            "position_ids": joined(range(len(ids)) for ids, _ in rows),
            "labels": joined(labels for _, labels in rows),
        }

    def _pad_left(self, rows: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        width = max(len(ids) for ids, _ in rows)

        def padded(values: list[list[int]], filler: int) -> Tensor:
            return torch.tensor([[filler] * (width - len(value)) + value for value in values], device=self._device)

        return {
            "input_ids": padded([ids for ids, _ in rows], self._pad),
            "attention_mask": padded([[1] * len(ids) for ids, _ in rows], 0),
            "labels": padded([labels for _, labels in rows], IGNORED),
        }
