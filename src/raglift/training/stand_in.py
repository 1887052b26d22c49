"""Something else in the place of blocks' own `forward`, for the length of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def standing_in(blocks: Iterable[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Let `forward` answer in the place of the blocks'; their weights, names and attributes stay as they are."""
    before = [(block, vars(block).get("forward")) for block in blocks]
    for block, _ in before:
        vars(block)["forward"] = forward
    try:
        yield
    finally:
        for block, own in before:
            if own is None:
                del vars(block)["forward"]
            else:
                vars(block)["forward"] = own


def hidden_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The hidden states that a block is called with."""
    found: Tensor = args[0] if args else kwargs["hidden_states"]
    return found
