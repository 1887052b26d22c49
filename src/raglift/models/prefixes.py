"""What stands before many rows: read once, kept for the next call, and what rows have in common beyond it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

from transformers import DynamicCache, PreTrainedModel

from raglift.errors import UserError
from raglift.models.bottleneck import active
from raglift.models.rows import RepeatedRows, Rows, SharedRows, extend, read_once
from raglift.models.shared_prefix import Prefix, can_share, windowed

_WORTH_SHARING = 64
"""Tokens that are saved, over all rows, before another forward pass for what they have in common pays."""


class Prefixes:
    """The prefixes of one model's rows; the last one is kept."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._kept: tuple[tuple[str | None, tuple[int, ...]], Prefix | DynamicCache] | None = None

    @cached_property
    def shared(self) -> bool:
        """Whether a prefix's keys and values are kept once for all rows, which not every model's attention allows."""
        return can_share(self._model)

    def split(self, head: Sequence[int], encoded: Sequence[list[int]]) -> tuple[Callable[[], Rows], list[list[int]]]:
        """What begins a batch of rows after their prefix, and what is left for each row to read: a token at least.

        Args:
            head: Tokens of the prefix.
            encoded: Tokens of what follows it in each row.

        Raises:
            UserError: A row has nothing to read, not even a prefix.
        """
        rows = [list(row) for row in encoded]
        if not all(rows):
            if not head:
                raise UserError(
                    "There is an empty prompt, and no prefix.", "A model continues a text.", "Give every prompt a text."
                )
            head, rows = head[:-1], [[head[-1], *row] for row in rows]
        if not self.shared and windowed(self._model):
            # Padding between the prefix and a row would move the one out of the other's window.
            head, rows = [], [[*head, *row] for row in rows]
        kept = self._read(tuple(head))
        if isinstance(kept, DynamicCache):
            return partial(RepeatedRows, self._model, (head, kept)), rows
        # From the kept prefix on, so that the same call gives the same bytes whatever was asked before.
        common = _common(rows)
        if len(common) * (len(rows) - 1) >= _WORTH_SHARING:
            kept, rows = extend(self._model, kept, common), [row[len(common) :] for row in rows]
        return partial(SharedRows, self._model, kept), rows

    def _read(self, head: tuple[int, ...]) -> Prefix | DynamicCache:
        kept = self._kept  # read once: another thread may put its own prefix in the place
        key = active(self._model), head  # what another adapter has made of the same tokens is something else
        if kept is not None and kept[0] == key:
            return kept[1]
        found = extend(self._model, Prefix(), head) if self.shared else read_once(self._model, head)
        self._kept = key, found
        return found


def _common(rows: Sequence[list[int]]) -> list[int]:
    """The longest beginning of all rows that leaves a token to each."""
    if len(rows) < 2:
        return []
    least, most = min(rows), max(rows)  # what these two begin with, every row between them does
    limit = min(len(row) for row in rows) - 1
    size = next((at for at in range(limit) if least[at] != most[at]), limit)
    return least[:size]
