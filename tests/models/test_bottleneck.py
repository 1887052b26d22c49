"""An adapter's arithmetic, where in a block it stands, and what it survives."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from raglift.models import bottleneck
from raglift.models.bottleneck import Bottleneck, Placement, Shape
from raglift.models.packed import can_pack, pack_linears
from raglift.models.sublayers import ADAPTERS
from tests.tasks import bits, same

IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])
WIDTH = 16


def shape(placement: Placement, blocks: tuple[int, ...], **changes: Any) -> Shape:
    values: dict[str, Any] = {"width": 3, "activation": "gelu", "scale": 1.0} | changes
    return Shape(placement=placement, blocks=blocks, **values)


def stirred(model: nn.Module, name: str, seed: int = 1) -> None:
    """Give an adapter weights of some size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in bottleneck.parts(model, name).values():
            for parameter in part.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


@torch.no_grad()
def states(model: nn.Module, ids: Tensor = IDS) -> Tensor:
    model.eval()
    return Tensor(model(ids).last_hidden_state)


def test_the_equation_by_hand() -> None:
    """D x + b = (1 - 2 + 0.5, 3 + 4 - 8) = (-0.5, -1), by relu (0, 0); of -x it is (1.5, -15), by relu (1.5, 0).
    U (1.5, 0) + c = (1.5 * 2 - 1, 1.5 * -1 + 0.25) = (2, -1.25), times 4 is (8, -5); of x it is c, times 4."""
    part = Bottleneck(2, 2, "relu", 4.0, beside=False)
    with torch.no_grad():
        part.down.weight.copy_(torch.tensor([[1.0, -1.0], [3.0, 2.0]]))
        part.down.bias.copy_(torch.tensor([0.5, -8.0]))
        part.up.weight.copy_(torch.tensor([[2.0, 7.0], [-1.0, 5.0]]))
        part.up.bias.copy_(torch.tensor([-1.0, 0.25]))
        found = part(torch.tensor([[1.0, 2.0], [-1.0, -2.0]]))
    assert found.tolist() == [[-4.0, 1.0], [8.0, -5.0]]


@pytest.mark.parametrize(
    ("activation", "expected"), [("relu", 0.0), ("gelu", -0.15865525), ("silu", -0.26894142), ("tanh", -0.76159416)]
)
def test_the_activations_at_minus_one(activation: bottleneck.Activation, expected: float) -> None:
    part = Bottleneck(1, 1, activation, 1.0, beside=False)
    with torch.no_grad():
        part.down.weight.fill_(1.0)
        part.up.weight.fill_(1.0)
        assert part(torch.tensor([[-1.0]])).item() == pytest.approx(expected, abs=1e-6)


def bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        initializer_range=0.3,
    )
    return BertModel(config).eval()


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def change(model: nn.Module, number: int, place: str, output: Tensor, source: Tensor) -> Tensor:
    """What stands in place of a sub-layer's output, written as the papers write it."""
    part = bottleneck.parts(model, "a").get(f"{number}.{place}")
    if part is None:
        return output
    read = source if part.beside else output
    inner = torch.nn.functional.gelu(read @ part.down.weight.T + part.down.bias)
    return output + part.scale * (inner @ part.up.weight.T + part.up.bias)


@torch.no_grad()
def bert_by_hand(model: BertModel, ids: Tensor) -> Tensor:
    """Post-norm: each sub-layer's output is changed, summed with the residual, normalised."""
    x = model.embeddings(ids)
    for number, layer in enumerate(model.encoder.layer):
        heads = [
            getattr(layer.attention.self, name)(x).view(*x.shape[:2], 2, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        ]
        query, key, value = heads
        weights = (query @ key.transpose(-1, -2) / (WIDTH // 2) ** 0.5).softmax(-1)
        context = (weights @ value).transpose(1, 2).flatten(2)
        attended = change(model, number, "attention", layer.attention.output.dense(context), x)
        x = layer.attention.output.LayerNorm(attended + x)
        fed = layer.output.dense(torch.nn.functional.gelu(layer.intermediate.dense(x)))
        x = layer.output.LayerNorm(change(model, number, "feed_forward", fed, x) + x)
    return Tensor(x)


@torch.no_grad()
def llama_by_hand(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Pre-norm: each sub-layer reads the normalised state; its output is changed, then summed with the residual."""
    x = model.model.embed_tokens(ids)
    size = ids.shape[1]
    turns = model.model.rotary_emb(x, torch.arange(size).unsqueeze(0))
    mask = torch.full((size, size), float("-inf")).triu(1)
    for number, layer in enumerate(model.model.layers):
        read = layer.input_layernorm(x)
        query, key, value = (
            getattr(layer.self_attn, name)(read).view(*x.shape[:2], -1, WIDTH // 2).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        query, key = apply_rotary_pos_emb(query, key, *turns)
        weights = (query @ key.transpose(-1, -2) / (WIDTH // 2) ** 0.5 + mask).softmax(-1)
        attended = layer.self_attn.o_proj((weights @ value).transpose(1, 2).flatten(2))
        x = x + change(model, number, "attention", attended, read)
        read = layer.post_attention_layernorm(x)
        fed = layer.mlp.down_proj(torch.nn.functional.silu(layer.mlp.gate_proj(read)) * layer.mlp.up_proj(read))
        x = x + change(model, number, "feed_forward", fed, read)
    return Tensor(model.model.norm(x))


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
@pytest.mark.parametrize("blocks", [(0, 1, 2), (1,), (0, 2)])
def test_the_blocks_of_bert_and_llama_by_hand(placement: Placement, blocks: tuple[int, ...]) -> None:
    encoder, writer = bert(), llama()
    for model in (encoder, writer):
        bottleneck.insert(model, "a", shape(placement, blocks, scale=1.5))
        stirred(model, "a")
        places = ("attention", "feed_forward") if placement == "houlsby" else ("feed_forward",)
        assert set(bottleneck.parts(model, "a")) == {f"{number}.{place}" for number in blocks for place in places}
    base = bert_by_hand(bert_without(encoder), IDS), llama_by_hand(llama_without(writer), IDS)
    for model, by_hand, off in zip(
        (encoder, writer.model), (bert_by_hand(encoder, IDS), llama_by_hand(writer, IDS)), base, strict=True
    ):
        torch.testing.assert_close(states(model), off, rtol=0, atol=1e-5)
        bottleneck.use(model, "a")
        torch.testing.assert_close(states(model), by_hand, rtol=0, atol=1e-5)
        assert (by_hand - off).abs().max() > 0.1


def bert_without(model: BertModel) -> BertModel:
    plain = copy.deepcopy(model)
    bottleneck.remove(plain, "a")
    return plain


def llama_without(model: LlamaForCausalLM) -> LlamaForCausalLM:
    plain = copy.deepcopy(model)
    bottleneck.remove(plain, "a")
    return plain


def test_a_refused_insertion_leaves_the_model_as_it_was() -> None:
    model = bert()
    model.encoder.layer[2].output = nn.Identity()
    with pytest.raises(ValueError, match="no feed-forward layer"):
        bottleneck.insert(model, "a", shape("houlsby", (0, 1, 2)))
    with pytest.raises(ValueError, match="it has 3 blocks, numbered from 0; there is no block 3"):
        bottleneck.insert(model, "a", shape("houlsby", (0, 3)))
    assert bottleneck.names(model) == []
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="no transformers model"):
        bottleneck.insert(nn.ModuleList([nn.Linear(2, 2)]), "a", shape("houlsby", (0,)))


def every_place() -> Iterator[tuple[PreTrainedModel, Placement]]:
    for placement in bottleneck.PLACES:
        yield bert(), placement
        yield llama().model, placement


def test_a_copy_has_adapters_of_its_own() -> None:
    for model, placement in every_place():
        bottleneck.insert(model, "a", shape(placement, (0, 2)))
        stirred(model, "a")
        bottleneck.use(model, "a")
        before, copied = states(model), copy.deepcopy(model)
        assert torch.equal(states(copied), before)
        stirred(copied, "a", seed=2)
        assert torch.equal(states(model), before)
        assert not torch.equal(states(copied), before)
        bottleneck.use(copied, None)
        assert torch.equal(states(model), before)
        bottleneck.remove(copied, "a")
        assert torch.equal(states(model), before)


@pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bfloat16 by oneDNN")
def test_adapters_stay_when_layers_are_packed_and_can_be_added_after() -> None:
    for model, placement in every_place():
        bottleneck.insert(model, "a", shape(placement, (0, 2)))
        stirred(model, "a")
        model.to(torch.bfloat16)  # type: ignore[arg-type]
        base = states(model).float()
        bottleneck.use(model, "a")
        before = states(model).float()
        packed = copy.deepcopy(model)
        pack_linears(packed, 8)
        with torch.inference_mode():
            torch.testing.assert_close(states(packed).float(), before, atol=0.15, rtol=0.1)
            assert (before - base).abs().mean() > 10 * (states(packed).float() - before).abs().mean()
            bottleneck.insert(packed, "b", shape(placement, (0, 2)))
            for key, part in bottleneck.parts(packed, "b").items():
                part.load_state_dict(bottleneck.parts(model, "a")[key].state_dict())
                part.to(torch.bfloat16)
            first = states(packed).float()
            bottleneck.use(packed, "b")
            torch.testing.assert_close(states(packed).float(), first, atol=0.15, rtol=0.1)


def test_a_float32_adapter_beside_a_base_in_half_precision() -> None:
    model = bert().to(torch.bfloat16)
    bottleneck.insert(model, "a", shape("houlsby", (0, 1, 2)))
    bottleneck.use(model, "a")
    out = model(IDS).last_hidden_state
    assert out.dtype == torch.bfloat16
    out.float().pow(2).mean().backward()  # type: ignore[no-untyped-call]
    for part in bottleneck.parts(model, "a").values():
        assert part.up.weight.grad is not None
        assert part.up.weight.grad.dtype == torch.float32
        assert part.up.weight.grad.abs().sum() > 0


def test_removing_one_of_two_leaves_the_other() -> None:
    model = bert()
    before = bits(model)
    base = states(model)
    for name, placement in (("a", "houlsby"), ("b", "pfeiffer")):
        bottleneck.insert(model, name, shape(placement, (0, 1)))  # type: ignore[arg-type]
        stirred(model, name)
    bottleneck.use(model, "b")
    second = states(model)
    bottleneck.remove(model, "a")
    assert torch.equal(states(model), second)
    bottleneck.remove(model, "b")
    assert same(bits(model), before)
    assert torch.equal(states(model), base)
    assert bottleneck.active(model) is None


def test_the_thread_that_names_an_adapter_is_the_only_one_that_hears_it() -> None:
    for placement in bottleneck.PLACES:
        model = bert()
        bottleneck.insert(model, "a", shape(placement, (0, 1, 2)))
        stirred(model, "a")
        base = states(model)
        with bottleneck.using(model, "a"):
            adapted = states(model)
        assert not torch.equal(adapted, base)
        wrong: list[str] = []

        def work(name: str | None, expected: Tensor, model: nn.Module = model, wrong: list[str] = wrong) -> None:
            for _ in range(20):
                with bottleneck.using(model, name):
                    if not torch.equal(states(model), expected):
                        wrong.append(str(name))

        threads = [threading.Thread(target=work, args=pair) for pair in [("a", adapted), (None, base)] * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_blocks_of_a_folder_s_model(tiny_llm: Path) -> None:
    from raglift.models.llm import load_causal_lm
    from tests.tasks import RUNTIME

    model = load_causal_lm(tiny_llm, RUNTIME)
    assert list(bottleneck.insert(model, "a", shape("pfeiffer", (1,)))) == ["1.feed_forward"]
    names = [name for name, _ in model.named_parameters() if ADAPTERS in name]
    assert all(name.startswith("model.layers.1.bottleneck.feed_forward.adapters.a.") for name in names)
    assert len(names) == 4
