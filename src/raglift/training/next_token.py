"""A language model's predictions of a batch's tokens, where something is to be learned from them.

The examples of a batch are rows that are padded on the left, or lie end to end in one row whose `position_ids` begin
anew with each of them (`raglift.models.padding_free`). What is said here holds for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raglift.models.end_to_end import lengths_of
from raglift.models.padding_free import enabled

IGNORED = -100
"""The label of a token that carries no loss."""
Batch = Mapping[str, Tensor]


def positions(batch: Batch) -> Tensor:
    """The place of each token in its example, (B, L); padding takes none and has 0."""
    return batch["position_ids"] if "position_ids" in batch else (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)


def predicting(batch: Batch) -> Tensor:
    """Positions whose next token is of the same example, (B, L)."""
    return torch.nn.functional.pad(positions(batch)[:, 1:] > 0, (0, 1))


def learning(batch: Batch) -> Tensor:
    """Positions whose next token is learned, (B, L)."""
    return predicting(batch) & (following(batch["labels"]) != IGNORED)


def following(values: Tensor) -> Tensor:
    """What stands one place further, (B, L); the last of a row has no meaning."""
    return values.roll(-1, dims=1)


def logits_of(model: nn.Module, batch: Batch, wanted: Tensor) -> Tensor:
    """Logits at the wanted positions, a mask (B, L), in their order: (N, V).

    The output layer is computed for no other position of a row that stands alone, and otherwise for those that some row
    of the batch wants: with 49,000 words it would cost more than the transformer below it over a whole prompt.
    """
    if "position_ids" in batch and not enabled(model):
        batch, wanted = apart(batch, wanted)
    arguments = arguments_of(batch, wanted)
    found: Tensor = model(**arguments).logits
    return found.flatten(0, 1) if len(wanted) == 1 else found[wanted[:, arguments["logits_to_keep"]]]


def arguments_of(batch: Batch, wanted: Tensor) -> dict[str, Any]:
    """What a model is called with for logits at least at the wanted positions."""
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "position_ids": positions(batch),
        "use_cache": False,
        "logits_to_keep": wanted.any(0).nonzero().flatten(),
    }


def apart(batch: Batch, wanted: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Examples that lie end to end, as rows that are padded on the left; the wanted positions stay in their order."""
    lengths = lengths_of(batch["attention_mask"])
    assert lengths is not None
    present = torch.ones_like(wanted, dtype=torch.long)
    columns = {"input_ids": batch["input_ids"], "labels": batch["labels"], "attention_mask": present, "wanted": wanted}
    rows = {
        name: torch.nn.utils.rnn.pad_sequence(
            list(torch.split(column[0], lengths)),
            batch_first=True,
            padding_value=IGNORED if name == "labels" else 0,
            padding_side="left",
        )
        for name, column in columns.items()
    }
    return rows, rows.pop("wanted")
