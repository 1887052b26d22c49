"""Batches grouped by length, for sentence-transformers' trainer: a module of its own, since the trainer pickles it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sentence_transformers.base.sampler import DefaultBatchSampler


class ByLength(DefaultBatchSampler):
    """Batches out of windows of eight that are sorted by the passages' length."""

    def __init__(self, dataset: Any, batch_size: int, drop_last: bool, **rest: Any) -> None:
        super().__init__(range(len(dataset)), batch_size, drop_last, **rest)
        self.lengths = [len(text) for text in dataset["positive"]]

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        window, found = self.batch_size * 8, []
        for start in range(0, len(order), window):
            rows = sorted(order[start : start + window], key=lambda row: self.lengths[row])
            found += [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        return iter([found[at] for at in torch.randperm(len(found), generator=generator).tolist()])
