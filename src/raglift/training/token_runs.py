"""The tokens of a text as a transformer is given them: what sees what in a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from raglift.models.end_to_end import lengths_of


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens that see each other and nothing else, the first of them at position 0.

    Attributes:
        ids: Token ids, as the bytes of int32.
        types: Token types likewise; empty where there are none but 0.
    """

    ids: bytes
    types: bytes = b""

    @classmethod
    def of(cls, ids: Sequence[int] | NDArray[Any], types: Sequence[int] | NDArray[Any] = ()) -> Run:
        """The run of these tokens."""
        return cls(np.asarray(ids, np.int32).tobytes(), np.asarray(types, np.int32).tobytes() if np.any(types) else b"")

    def __len__(self) -> int:
        return len(self.ids) // 4

    @property
    def columns(self) -> tuple[list[int], list[int]]:
        """Token ids and types."""
        ids = np.frombuffer(self.ids, np.int32).tolist()
        return ids, np.frombuffer(self.types, np.int32).tolist() or [0] * len(ids)


Placed = tuple[int, int, Run]
"""A run in a batch: its row, its first column, and its tokens."""


def placed(inputs: Mapping[str, Any]) -> list[Placed] | None:
    """The runs of a batch, as a model is given it; None where it cannot be told what sees what.

    With an attention mask a row is one run. Without one, where positions begin anew, so does a run: transformers lets
    packed sequences see themselves alone. A mask of integers in four dimensions is none of transformers' own: it holds
    the lengths of the runs that lie end to end in a single row.

    Args:
        inputs: `input_ids`, (B, L), and where they are given `attention_mask`, `position_ids` and `token_type_ids`.
    """
    given = [inputs.get(name) for name in ("input_ids", "attention_mask", "position_ids", "token_type_ids")]
    if given[0] is None or inputs.get("past_key_values") is not None:
        return None
    lengths = lengths_of(given[1])
    if lengths is not None:
        return _end_to_end(given[0], lengths, given[3])
    if any(value is not None and not (isinstance(value, Tensor) and value.ndim == 2) for value in given):
        return None
    ids, mask, places, types = (None if value is None else value.cpu().numpy() for value in given)
    assert ids is not None
    present = np.ones(ids.shape, bool) if mask is None else mask.astype(bool)
    begins = present & ~np.pad(present, ((0, 0), (1, 0)))[:, :-1]
    if places is not None:
        places = np.broadcast_to(places, ids.shape)
        begins |= (places == 0) & (mask is None)
        inside = (present & ~begins)[:, 1:]
        if places[begins].any() or (np.diff(places)[inside] != 1).any():
            return None
    if mask is not None and (begins.sum(1) != 1).any():
        return None
    going_on = np.pad(present & ~begins, ((0, 0), (0, 1)))[:, 1:]
    lasts = np.nonzero(present & ~going_on)[1]
    return [
        (row, start, Run.of(ids[row, start : last + 1], () if types is None else types[row, start : last + 1]))
        for row, start, last in zip(*map(np.ndarray.tolist, np.nonzero(begins)), lasts.tolist(), strict=True)
    ]


def _end_to_end(ids: Tensor, lengths: Sequence[int], types: Tensor | None) -> list[Placed] | None:
    if ids.shape != (1, sum(lengths)):
        return None
    row, kinds = (None if value is None else value[0].cpu().numpy() for value in (ids, types))
    assert row is not None
    bounds = list(accumulate(lengths, initial=0))
    return [
        (0, start, Run.of(row[start:end], () if kinds is None else kinds[start:end])) for start, end in pairwise(bounds)
    ]


def runs_of(inputs: Mapping[str, Any]) -> list[Run]:
    """The runs of a batch without their places; none where it cannot be told what sees what."""
    return [run for _, _, run in placed(inputs) or ()]
