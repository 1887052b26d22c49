"""What a model gives probabilities to: the next token, or the passages of a batch or of a list for a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from raglift.models.flattened import rows_of
from raglift.models.padding_free import enabled
from raglift.training.forwards import Forward, Forwards, by_base
from raglift.training.lists import Lists, scores_of
from raglift.training.next_token import apart, arguments_of, learning

SCALE = 20.0
"""On cosines before the softmax over passages, as in training."""


def ranking(queries: Tensor, passages: Tensor) -> Tensor:
    """Log-probabilities of each passage for each query, shape (queries, passages), in float32 also under autocast."""
    with torch.autocast(queries.device.type, enabled=False):
        left = torch.nn.functional.normalize(queries.float(), dim=1)
        right = torch.nn.functional.normalize(passages.float(), dim=1)
        return torch.log_softmax(SCALE * left @ right.T, dim=1)


def divergence(base: Tensor, tuned: Tensor) -> Tensor:
    """The mean over rows of KL(base || tuned), in nats, of log-probabilities (rows, outcomes)."""
    summed = torch.nn.functional.kl_div(tuned, base, reduction="sum", log_target=True)
    return summed / max(1, len(base))


def token_divergence(model: nn.Module, base: Mapping[str, Tensor], batch: Any, calls: Sequence[Forward]) -> Tensor:
    """KL(base || model) of the next token, a mean over the learned positions of a batch.

    Args:
        calls: What the objective computed for the batch; computed here where it is not one call that has all of it.
    """
    wanted = learning(batch)
    found = [(call, _learned(call, wanted)) for call in calls if call.kwargs.get("input_ids") is batch["input_ids"]]
    if len(calls) != 1 or not found or int(found[0][1].sum()) != int(wanted.sum()):
        if "position_ids" in batch and not enabled(model):
            batch, wanted = apart(batch, wanted)
        (call,) = _recorded(model, lambda: model(**arguments_of(batch, wanted)))
        found = [(call, _learned(call, wanted))]
    ((call, mask),) = found
    tuned = torch.log_softmax(call.output[mask].float(), dim=-1)
    said = torch.log_softmax(by_base(model, base, call)[mask].float(), dim=-1)
    return divergence(said, tuned)


def _learned(call: Forward, wanted: Tensor) -> Tensor:
    """Which of the call's logits, (B, T), predict a learned token: it may have kept the last ones or chosen ones."""
    kept = call.kwargs.get("logits_to_keep", 0)
    return wanted[:, kept] if isinstance(kept, Tensor) else wanted[:, -call.output.shape[1] :]


def ranking_divergence(model: nn.Module, base: Mapping[str, Tensor], batch: Any, calls: Sequence[Forward]) -> Tensor:
    """KL(base || model) of the batch's passages for a query, a mean over its queries.

    Args:
        calls: What the objective computed for the batch; computed here where that is not every text once, the queries
            in a call of their own and first.
    """
    if not _whole(calls, batch):
        calls = _recorded(model, lambda: [model(dict(column)) for column in batch])
    first, *rest = calls
    tuned = ranking(first.output, torch.cat([call.output for call in rest]))
    said = [by_base(model, base, call) for call in calls]
    return divergence(ranking(said[0], torch.cat(said[1:])), tuned)


def order(scores: Tensor, batch: Lists) -> Tensor:
    """Log-probabilities of each list's passages, (lists, longest list), by a cross-encoder's scores of pairs, (N,).

    Where a list is shorter they are the lowest number that there is.
    """
    lowest = torch.finfo(torch.float32).min
    return torch.log_softmax(batch.table(scores.float()).masked_fill(~batch.known, lowest), dim=1)


def order_divergence(model: nn.Module, base: Mapping[str, Tensor], batch: Any, calls: Sequence[Forward]) -> Tensor:
    """KL(base || model) of a question's passages, a mean over the questions of a batch of lists.

    Args:
        calls: What the objective computed for the batch; computed here where that is not every pair in one call.
    """
    given = [call.args[0].get("input_ids") for call in calls if call.args]
    if len(given) != 1 or given[0] is not batch.features["input_ids"]:
        calls = _recorded(model, lambda: scores_of(model, batch))
    (call,) = calls
    said, tuned = by_base(model, base, call).view(-1), call.output.view(-1)
    return divergence(order(said, batch), order(tuned, batch))


def _whole(calls: Sequence[Forward], batch: Any) -> bool:
    rows = [rows_of(column) for column in batch]
    if len(calls) < 2 or [len(calls[0].output), sum(len(call.output) for call in calls[1:])] != [
        rows[0],
        sum(rows[1:]),
    ]:
        return False
    given = calls[0].args[0] if calls[0].args else {}
    return all(call.output.requires_grad for call in calls) and all(
        given.get(key) is value for key, value in batch[0].items() if key in ("input_ids", "attention_mask")
    )


def _recorded(model: nn.Module, forward: Any) -> list[Forward]:
    """The calls that `forward` makes."""
    forwards = Forwards(model).open()
    try:
        forward()
        return forwards.take()
    finally:
        forwards.close()
