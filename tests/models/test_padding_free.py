"""Sequences end to end in one row get what each gets alone: values, gradients, and nothing of their neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from raglift.models import causal_attention as blocks
from raglift.models.causal_attention import causal_attention
from raglift.models.end_to_end import NAME, as_mask
from raglift.models.padding_free import enable, enabled

SIZES: dict[str, Any] = {"vocab_size": 97, "initializer_range": 0.2, "pad_token_id": 0}
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **SIZES}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, **SIZES}
ABLE: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **LLAMA)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=1, **LLAMA)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
}
UNABLE: dict[str, Callable[[], PreTrainedModel]] = {
    "mistral with a window": lambda: MistralForCausalLM(
        MistralConfig(num_key_value_heads=2, sliding_window=8, **LLAMA)
    ),
    "bloom, by distance": lambda: BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=2, n_head=4, **SIZES)),
    "mamba, a state space": lambda: MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, **SIZES)),
    "qwen3-next, linear attention": lambda: Qwen3NextForCausalLM(
        Qwen3NextConfig(num_key_value_heads=2, num_experts=2, num_experts_per_tok=1, head_dim=8, **LLAMA)
    ),
}
LENGTHS = (1, 150, 9, 2)
"""One of them longer than a block of queries."""


def built(build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return build().eval()  # type: ignore[no-untyped-call]


def row(lengths: tuple[int, ...]) -> Tensor:
    return torch.randint(1, 97, (1, sum(lengths)), generator=torch.Generator().manual_seed(sum(lengths)))


def places(lengths: tuple[int, ...]) -> Tensor:
    return torch.cat([torch.arange(length) for length in lengths]).unsqueeze(0)


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("kept", [0, 512])
def test_logits_and_gradients_are_those_of_each_sequence_alone(
    name: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_KEPT", kept)
    model = built(ABLE[name])
    reference = copy.deepcopy(model)
    assert enable(model)
    ids = row(LENGTHS)
    weights = torch.randn(1, ids.shape[1], 97, generator=torch.Generator().manual_seed(0))
    found = model(input_ids=ids, attention_mask=as_mask(LENGTHS), position_ids=places(LENGTHS), use_cache=False).logits
    expected = torch.cat([reference(input_ids=part).logits for part in ids.split(LENGTHS, dim=1)], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for logits in (found, expected):
        (logits * weights).sum().backward()
    for (key, value), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert value.grad is not None, key
        assert other.grad is not None, key
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(value.grad, other.grad, rtol=1e-4, atol=1e-5 * max(scale, 1.0), msg=key)


@pytest.mark.parametrize("name", ABLE)
def test_transformers_own_packing_says_the_same(name: str) -> None:
    model = built(ABLE[name])
    ids = row(LENGTHS)
    expected = model(input_ids=ids, position_ids=places(LENGTHS), use_cache=False).logits
    assert enable(model)
    found = model(input_ids=ids, attention_mask=as_mask(LENGTHS), position_ids=places(LENGTHS), use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(model(input_ids=ids, position_ids=places(LENGTHS), use_cache=False).logits, expected)


@pytest.mark.parametrize("name", UNABLE)
def test_a_model_that_would_mix_sequences_is_left_as_it_was(name: str) -> None:
    model = built(UNABLE[name])
    before, training = model.config._attn_implementation, model.training
    assert not enable(model)
    assert not enabled(model)
    assert (model.config._attn_implementation, model.training) == (before, training)


def test_a_model_whose_positions_run_on_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(ABLE["gpt2"])
    decoder = model.get_decoder()
    forward = decoder.forward

    def running_on(**given: Any) -> Any:
        given.pop("position_ids", None)
        return forward(**given)

    monkeypatch.setattr(decoder, "forward", running_on)
    assert not enable(model)
    assert model.config._attn_implementation == "sdpa"


def test_everything_else_is_as_before(tmp_path: Any) -> None:
    model = built(ABLE["llama"])
    ids = row((6, 6)).view(2, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    options: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
    before = model(input_ids=ids, attention_mask=mask).logits, model.generate(ids, **options)  # type: ignore[operator]
    assert enable(model)
    assert enabled(model)
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, before[0])
    assert torch.equal(model.generate(ids, **options), before[1])  # type: ignore[operator]
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text("utf-8")


def test_what_is_not_the_rows_is_refused() -> None:
    model = built(ABLE["llama"])
    assert enable(model)
    with pytest.raises(ValueError, match="the lengths are not those"):
        model(input_ids=row((5,)), attention_mask=as_mask((2, 2)), use_cache=False)


def test_dropout_of_attention_falls_in_training_alone() -> None:
    model = built(lambda: LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, attention_dropout=0.5, **LLAMA)))
    assert enable(model)
    given: dict[str, Any] = {"input_ids": row(LENGTHS), "attention_mask": as_mask(LENGTHS), "use_cache": False}
    given["position_ids"] = places(LENGTHS)
    assert torch.equal(model(**given).logits, model(**given).logits)
    model.train()
    assert not torch.equal(model(**given).logits, model(**given).logits)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    groups=st.integers(1, 3),
    heads=st.integers(1, 3),
    block=st.integers(1, 14),
    kept=st.integers(0, 12),
)
def test_blocks_of_queries_are_the_whole(lengths: list[int], groups: int, heads: int, block: int, kept: int) -> None:
    generator = torch.Generator().manual_seed(block)
    total = sum(lengths)
    query, key, value, above = (
        torch.randn(number, total, width, generator=generator, dtype=torch.float64, requires_grad=True)
        for number, width in ((groups * heads, 4), (groups, 4), (groups, 5), (groups * heads, 5))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK", block)
        patch.setattr(blocks, "_KEPT", kept)
        found = causal_attention(query, key, value, lengths, 0.3).transpose(0, 1)
        gradients = torch.autograd.grad((found * above).sum(), (query, key, value))
    parts = []
    for each in zip(*(states.split(lengths, dim=1) for states in (query, key, value)), strict=True):
        q, k, v = each[0], *(states.repeat_interleave(heads, dim=0) for states in each[1:])
        later = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
        parts.append(torch.softmax((q @ k.mT * 0.3).masked_fill(later, -torch.inf), dim=-1) @ v)
    expected = torch.cat(parts, dim=1)
    torch.testing.assert_close(found, expected)
    for mine, other in zip(gradients, torch.autograd.grad((expected * above).sum(), (query, key, value)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)  # sums over blocks are in float32


def test_half_precision_is_as_near_as_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(heads, 300, 16, generator=generator, dtype=torch.float64) for heads in (4, 2, 2)]
    lengths, shared = (200, 100), {"is_causal": True, "enable_gqa": True}

    def theirs(states: list[Tensor]) -> Tensor:
        parts = zip(*(each.unsqueeze(0).split(lengths, dim=2) for each in states), strict=True)
        found = [torch.nn.functional.scaled_dot_product_attention(*part, **shared)[0] for part in parts]  # type: ignore[arg-type]
        return torch.cat(found, dim=1)

    half = [states.bfloat16() for states in exact]
    expected = theirs([states.double() for states in half])
    mine = causal_attention(half[0], half[1], half[2], lengths, 0.25).transpose(0, 1)
    errors = [float((found.double() - expected).square().mean()) for found in (mine, theirs(half))]
    assert errors[0] < 4 * errors[1]
