"""How likely a model finds given continuations, and which of some tokens it finds likely to come next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from raglift.models.lanes import side_by_side
from raglift.models.rows import Rows

_LOGITS = 1 << 10
"""Positions whose logits over the whole vocabulary are held at once."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The mean natural logarithm of the probability of a continuation's tokens, and how many these are.

    `mean_log_probability` is None where there is no token.
    """

    mean_log_probability: float | None
    tokens: int


def likelihoods(
    begin: Callable[[], Rows],
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> list[Likelihood]:
    """The likelihood of each continuation, in the order given.

    Args:
        begin: Begins a batch of rows, after what they share.
        prompts: What is left for each row to read before its continuation; a token at least.
        batch_size: Rows at once at most.
        device: Where the model is.
        advance: Told how many more continuations are done.
    """

    def scored(rows: list[int]) -> list[Likelihood]:
        # The last token is only predicted, never read.
        read = [[*prompts[row], *continuations[row][:-1]] for row in rows]
        longest = max(len(continuations[row]) for row in rows)
        logits = begin().read(read, 0, longest).float()
        return [_likelihood(scores, continuations[row]) for scores, row in zip(logits, rows, strict=True)]

    found = [Likelihood(None, 0)] * len(prompts)
    full = [row for row, tokens in enumerate(continuations) if tokens]
    advance(len(prompts) - len(full))
    for rows, likely in side_by_side(scored, _batches(full, prompts, continuations, batch_size), device):
        for row, value in zip(rows, likely, strict=True):
            found[row] = value
        advance(len(rows))
    return found


def next_of_groups(
    begin: Callable[[], Rows],
    prompts: Sequence[Sequence[int]],
    groups: Sequence[Sequence[int]],
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> list[tuple[float, ...]]:
    """For each prompt and group, the logarithm of the probability that the next token is one of the group's.

    Args:
        begin: Begins a batch of rows, after what they share.
        prompts: What is left for each row to read; a token at least.
        groups: Token ids, at least one a group.
        batch_size: Rows at once at most.
        device: Where the model is.
        advance: Told how many more prompts are done.
    """

    def scored(rows: list[int]) -> list[list[float]]:
        logits = begin().read([prompts[row] for row in rows], 0)[:, -1].float()
        logs = logits - logits.logsumexp(dim=-1, keepdim=True)
        found = [logs[:, list(group)].logsumexp(dim=-1).double() for group in groups]
        values: list[list[float]] = torch.stack(found, dim=1).tolist()
        return values

    found: list[tuple[float, ...]] = [()] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    batches = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
    for rows, values in side_by_side(scored, batches, device):
        for row, value in zip(rows, values, strict=True):
            found[row] = tuple(value)
        advance(len(rows))
    return found


def _batches(
    full: Sequence[int], prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], batch_size: int
) -> Iterator[list[int]]:
    """Rows that are read together: with continuations of about the same length, the longest row first."""
    order = sorted(full, key=lambda row: (-len(continuations[row]), -len(prompts[row]), row))
    while order:
        size = max(1, min(batch_size, _LOGITS // len(continuations[order[0]])))
        yield sorted(order[:size], key=lambda row: (-len(prompts[row]) - len(continuations[row]), row))
        order = order[size:]


def _likelihood(logits: torch.Tensor, tokens: Sequence[int]) -> Likelihood:
    """Of tokens whose logits are the last rows of `logits`, (positions, vocabulary)."""
    scores = logits[-len(tokens) :]
    logs = scores.gather(1, torch.tensor(tokens, device=logits.device).unsqueeze(1)).squeeze(1)
    return Likelihood(float((logs - scores.logsumexp(dim=-1)).double().mean()), len(tokens))
