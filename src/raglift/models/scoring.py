"""How likely a model finds given continuations: the mean log-probability of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

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
    advance: Callable[[int], None],
) -> list[Likelihood]:
    """The likelihood of each continuation, in the order given.

    Args:
        begin: Begins a batch of rows, after what they share.
        prompts: What is left for each row to read before its continuation; a token at least.
        batch_size: Rows at once at most.
        advance: Told how many more continuations are done.
    """
    found = [Likelihood(None, 0)] * len(prompts)
    full = [row for row, tokens in enumerate(continuations) if tokens]
    advance(len(prompts) - len(full))
    order = sorted(full, key=lambda row: (-len(continuations[row]), -len(prompts[row]), row))
    start = 0
    while start < len(order):
        longest = len(continuations[order[start]])
        rows = order[start : start + max(1, min(batch_size, _LOGITS // longest))]
        rows.sort(key=lambda row: (-len(prompts[row]) - len(continuations[row]), row))
        # The last token is only predicted, never read.
        read = [[*prompts[row], *continuations[row][:-1]] for row in rows]
        logits = begin().read(read, 0, longest).float()
        for place, row in enumerate(rows):
            tokens = torch.tensor(continuations[row], device=logits.device).unsqueeze(1)
            scores = logits[place, -len(tokens) :]
            logs = scores.gather(1, tokens).squeeze(1) - scores.logsumexp(dim=-1)
            found[row] = Likelihood(float(logs.double().mean()), len(tokens))
        advance(len(rows))
        start += len(rows)
    return found
