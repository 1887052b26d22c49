"""What is handed to attention in the place of a mask, and torch's own attention sequence by sequence."""

from __future__ import annotations

import pytest
import torch

from raglift.models.causal_attention import causal_attention
from raglift.models.end_to_end import _one_by_one, as_mask, lengths_of
from raglift.models.text_attention import text_attention

LENGTHS = (4, 1, 7)
LONG = (530, 3)
"""Longer than a block of queries, and than a sequence whose probabilities are kept for the backward pass."""


def test_only_a_mask_of_lengths_is_read_as_one() -> None:
    assert lengths_of(as_mask(LENGTHS)) == list(LENGTHS)
    for other in (None, torch.ones(2, 3, dtype=torch.int32), torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 3).bool()):
        assert lengths_of(other) is None


@pytest.mark.parametrize("causal", [True, False])
def test_torchs_attention_one_by_one_is_the_same(causal: bool) -> None:
    """What a graphics processor is given, and any model that drops out weights."""
    generator = torch.Generator().manual_seed(0)
    groups = 2 if causal else 4
    states = [torch.randn(1, heads, sum(LENGTHS), 8, generator=generator) for heads in (4, groups, groups)]
    module = torch.nn.Module()
    module.num_key_value_groups = 4 // groups  # type: ignore[assignment]
    found = _one_by_one(module, states, list(LENGTHS), None, scaling=0.3, is_causal=causal)
    attend = causal_attention if causal else text_attention
    expected = attend(states[0][0], states[1][0], states[2][0], LENGTHS, 0.3)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)


def _plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of one sequence as the formula has it, (tokens, heads, width)."""
    shared = len(query) // len(key)
    key, value = key.repeat_interleave(shared, 0), value.repeat_interleave(shared, 0)
    scores = query @ key.transpose(1, 2) * scale
    later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(later, float("-inf")).softmax(-1) @ value).transpose(0, 1)


@pytest.mark.parametrize("lengths", [LENGTHS, LONG])
def test_causal_gradients_are_the_formulas_to_the_last_digits(lengths: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(heads, sum(lengths), 8) for heads in (4, 2, 2)]
    states = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    weights = torch.randn(sum(lengths), 4, 8, generator=generator, dtype=torch.float64)
    found = causal_attention(*states, lengths, 0.3)
    parts = zip(*(part.split(lengths, dim=1) for part in states), strict=True)
    expected = torch.cat([_plain(*part, 0.3) for part in parts])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    gradients = torch.autograd.grad((found * weights).sum(), states)
    for got, right in zip(gradients, torch.autograd.grad((expected * weights).sum(), states), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-11, atol=1e-11)
