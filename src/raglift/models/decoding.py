"""The decode loop: a token a row and step, until a row ends; ended rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from torch import Tensor

from raglift.models.choosing import Choose
from raglift.models.rows import Rows

_STEP = 8
"""Rows leave so that their number is a multiple of it: the processor prepares itself anew for every other number."""


def decode(rows: Rows, logits: Tensor, choose: Choose, ends: AbstractSet[int], longest: int) -> list[list[int]]:
    """The tokens that each row writes, the one that ends it among them.

    Args:
        rows: After their prompts are read.
        logits: Of each prompt's last token, shape (rows, vocabulary).
        ends: Tokens that end a row.
        longest: Tokens that a row writes at most.
    """
    written: list[list[int]] = [[] for _ in range(len(logits))]
    live = list(range(len(logits)))
    """Row in each place; the places after them, up to the size of the batch, hold rows that have ended."""
    for count in range(longest):
        tokens = choose(logits[: len(live)], live, written)
        for row, token in zip(live, tokens, strict=True):
            written[row].append(token)
        going = [place for place, token in enumerate(tokens) if token not in ends]
        if not going or count == longest - 1:
            break
        size = min(len(logits), -(-len(going) // _STEP) * _STEP)
        order = _fill(going, size)
        rows.keep(order)
        live = [live[place] for place in order[: len(going)]]
        tokens = [tokens[place] for place in order[: len(going)]] + [0] * (size - len(going))
        logits = rows.step(tokens)[:, -1]
    return written


def _fill(going: Sequence[int], size: int) -> list[int]:
    """An order of places that puts the ones in `going` first, moving as few of them as can be."""
    count = len(going)
    staying = {place for place in going if place < count}
    moving = [place for place in going if place >= count]
    return [place if place in staying else moving.pop() for place in range(count)] + list(range(count, size))
