"""The diagonal of the Fisher information: how much each weight matters to what a model says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raglift.training.distributions import order, ranking
from raglift.training.lists import Lists, scores_of

Precision = Callable[[], contextlib.AbstractContextManager[Any]]
Said = tuple[Tensor, int]
"""The log-probability of one example's outcomes, drawn from the model itself, and how many outcomes they are."""


def diagonal_fisher(parameters: Mapping[str, nn.Parameter], examples: Iterable[Said]) -> dict[str, Tensor]:
    """The mean over outcomes of the squared gradient of an outcome's log-probability, by parameter name, in float32.

    Every example is differentiated by itself: the square of a batch's mean gradient is another quantity, which shrinks
    with the batch. The outcomes within one example (the tokens of a text) are differentiated together, since the
    cross-terms of their gradients are zero in the mean where outcomes are drawn from the model. To second order,
    `0.5 * sum(fisher * (w - w0) ** 2)` is then what the diagonal sees of KL(base || tuned) an outcome.

    References:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", section 2.1.
        Kunstner, Balles and Hennig 2019, "Limitations of the Empirical Fisher Approximation", on why outcomes are drawn
        from the model and are not the data's own.
    """
    found = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in parameters.items()}
    outcomes = 0
    for log_probability, count in examples:
        # Examples of one forward pass share its graph.
        gradients = torch.autograd.grad(
            log_probability, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        for total, gradient in zip(found.values(), gradients, strict=True):
            if gradient is not None:
                total.addcmul_(gradient.float(), gradient.float())
        outcomes += count
    for total in found.values():
        total.div_(max(1, outcomes))
    return found


def drawn(log_probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """One outcome a row of log-probabilities (rows, outcomes), drawn on the processor so that devices agree."""
    chances = log_probabilities.detach().float().exp().cpu()
    return torch.multinomial(chances, 1, generator=generator).to(log_probabilities.device)


def told_tokens(
    model: nn.Module, texts: Iterable[Tensor], precision: Precision, generator: torch.Generator
) -> Iterator[Said]:
    """For each text, token ids of shape (1, length), a next token after every place in it, drawn from the model."""
    for ids in texts:
        with precision():
            logits = model(input_ids=ids, use_cache=False).logits[0]
        chances = torch.log_softmax(logits.float(), dim=-1)
        yield chances.gather(1, drawn(chances, generator)).sum(), len(chances)


def told_passages(
    model: nn.Module,
    groups: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]],
    precision: Precision,
    generator: torch.Generator,
) -> Iterator[Said]:
    """For each query of a group, a passage of the group drawn from the model's softmax over their cosines.

    Args:
        groups: Features of queries and of passages; with None, every text asks for one of the others.
    """
    for queries, passages in groups:
        with precision():
            left = model(dict(queries))["sentence_embedding"]
            right = left if passages is None else model(dict(passages))["sentence_embedding"]
        chances = ranking(left, right)
        if passages is None:
            itself = torch.eye(len(left), dtype=torch.bool, device=left.device)
            chances = torch.log_softmax(chances.masked_fill(itself, -torch.inf), dim=1)
        said = chances.gather(1, drawn(chances, generator)).squeeze(1)
        for log_probability in said:
            yield log_probability, 1


def told_orders(
    model: nn.Module, batches: Iterable[Lists], precision: Precision, generator: torch.Generator
) -> Iterator[Said]:
    """For each list, a passage of it drawn from a cross-encoder's softmax over their scores."""
    for batch in batches:
        with precision():
            scores = scores_of(model, batch)
        chances = order(scores, batch)
        for log_probability in chances.gather(1, drawn(chances, generator)).squeeze(1):
            yield log_probability, 1
