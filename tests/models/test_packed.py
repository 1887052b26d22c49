"""A packed layer is the layer that it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import T5Config, T5EncoderModel

from raglift import plugins
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.packed import PackedLinear, can_pack, pack_linears
from tests.tiny import SENTENCES

pytestmark = pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bfloat16 by oneDNN")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.integers(1, 99))
def test_any_shape_gives_the_plain_layers_result(
    rows: int, batch: int, inner: int, outer: int, bias: bool, hint: int
) -> None:
    torch.manual_seed(rows)
    linear = nn.Linear(inner, outer, bias=bias).to(torch.bfloat16)
    x = torch.randn(batch, rows, inner, dtype=torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear, hint)(x), linear(x), atol=0.05, rtol=0.02)


def test_only_plain_linear_layers_are_replaced() -> None:
    class Special(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), Special(4, 4)).bfloat16()
    pack_linears(model, 8)
    kinds = [type(module) for module in model.modules() if not isinstance(module, nn.Sequential)]
    assert kinds == [PackedLinear, PackedLinear, nn.LayerNorm, Special]


def test_t5_which_reads_the_weights_of_its_parts_still_runs() -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    model = T5EncoderModel(config).bfloat16().eval()
    ids = torch.tensor([[3, 4, 5]])
    with torch.inference_mode():
        before = model(ids).last_hidden_state
        pack_linears(model, 8)
        torch.testing.assert_close(model(ids).last_hidden_state, before, atol=0.05, rtol=0.05)
    assert any(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.parametrize("tuner", ["lora", "dora", "ia3", "oft", "vera"])
def test_a_model_with_an_adapter_in_it_still_encodes(tuner: str, tiny_embedding: Path) -> None:
    whole = Runtime(torch.device("cpu"), torch.float32, 1)
    model = plugins.load("strategy", "lora")(tuner=tuner).prepare(load_encoder(tiny_embedding, whole), "embedding")
    expected = Encoder(model, whole).encode(SENTENCES, "passage")
    half = Encoder(model, replace(whole, dtype=torch.bfloat16))
    np.testing.assert_allclose(half.encode(SENTENCES, "passage"), expected, atol=0.03)
