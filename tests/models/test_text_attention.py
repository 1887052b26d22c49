"""Attention within each text, against torch's own text by text."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.models import text_attention as module
from raglift.models.text_attention import text_attention


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 9), st.integers(0, 99))
def test_values_and_gradients_are_torchs(lengths: list[int], heads: int, kept: int, seed: int) -> None:
    torch.manual_seed(seed)
    drawn = torch.randn(3, sum(lengths), heads, 4, dtype=torch.float64)
    own, reference = ([part.clone().transpose(0, 1).requires_grad_() for part in drawn] for _ in range(2))
    split = zip(*(part.split(lengths, dim=1) for part in reference), strict=True)
    expected = torch.cat(
        [torch.nn.functional.scaled_dot_product_attention(*text, scale=0.7) for text in split], dim=1
    ).transpose(0, 1)
    before, module._KEPT = module._KEPT, kept  # longer ones compute their probabilities again
    try:
        found = text_attention(own[0], own[1], own[2], lengths, 0.7)
        gradient = torch.randn_like(found)
        found.backward(gradient)
    finally:
        module._KEPT = before
    expected.backward(gradient)
    torch.testing.assert_close(found, expected)
    for left, right in zip(own, reference, strict=True):
        torch.testing.assert_close(left.grad, right.grad)
