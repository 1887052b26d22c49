"""A language model's highest block and its output layer, computed with less work, say and learn what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from raglift.training.last_block import LastBlock, narrow_last_block
from raglift.training.parameters import block_list, trainable
from raglift.training.rounded_output import round_output_once

SIZE: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZE),
    "llama, eager": lambda: LlamaConfig(**SIZE, attn_implementation="eager"),
    "mistral": lambda: MistralConfig(**SIZE),
    "qwen2": lambda: Qwen2Config(**SIZE),
    "qwen3": lambda: Qwen3Config(**SIZE),
    "gemma2": lambda: Gemma2Config(**SIZE),
    "gemma3": lambda: Gemma3TextConfig(**SIZE),
    "phi3": lambda: Phi3Config(**SIZE),
    "smollm3": lambda: SmolLM3Config(**SIZE),
}


def model_of(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIGS[name]()
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.train()


def batch_of(lengths: tuple[int, ...], width: int = 12) -> dict[str, Tensor]:
    """Rows of tokens, padded on the left."""
    ids = torch.randint(1, 99, (len(lengths), width), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[0] * (width - length) + [1] * length for length in lengths])
    return {"input_ids": ids * mask, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


def gradients(model: nn.Module, batch: dict[str, Tensor], keep: Any) -> tuple[Tensor, dict[str, Tensor], list[int]]:
    """Logits, gradients, and the rows that each block's feed-forward layer was given."""
    rows: list[int] = []
    handles = [
        block.mlp.register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[1]))  # type: ignore[union-attr]
        for block in block_list(model)[1]
    ]
    model.zero_grad()
    logits = model(**batch, use_cache=False, logits_to_keep=keep).logits
    logits[:, -2:].square().sum().backward()
    for handle in handles:
        handle.remove()
    return logits.detach(), {n: p.grad.clone() for n, p in trainable(model).items() if p.grad is not None}, rows


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert float((found[1][name] - gradient).norm()) <= 1e-4 * float(gradient.norm()) + 1e-6, name


@pytest.mark.parametrize("keep", [2, torch.tensor([4, 9, 11])])
@pytest.mark.parametrize("lengths", [(12, 7), (12, 12)])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_logits_and_gradients_stay(name: str, lengths: tuple[int, ...], keep: Any) -> None:
    model, batch = model_of(name), batch_of(lengths)
    expected = gradients(model, batch, keep)
    narrow_last_block(model)
    found = gradients(model, batch, keep)
    assert_close(found, expected)
    count = keep if isinstance(keep, int) else len(keep)
    assert found[2] == [12, 12, count]
    assert expected[2] == [12, 12, 12]


def test_positions_that_are_no_few_and_all_of_them_go_the_usual_way() -> None:
    model, batch = model_of("llama"), batch_of((12, 7))
    narrow_last_block(model)
    for keep in (0, 7, torch.arange(8)):
        assert gradients(model, batch, keep)[2] == [12, 12, 12]


def test_sequences_end_to_end_do_not_see_each_other() -> None:
    """A mask of integers stands for their lengths, and positions begin anew."""
    model = model_of("llama")
    narrow_last_block(model)
    ids = torch.arange(1, 13).unsqueeze(0)
    places = torch.tensor([[*range(7), *range(5)]])
    inputs = {"input_ids": ids, "position_ids": places, "use_cache": False}
    with torch.no_grad():
        # Without a mask transformers sees by the positions where sequences begin, and makes one of them.
        found = model(**inputs, logits_to_keep=torch.tensor([6, 11])).logits[0]
        apart = [model(part, use_cache=False).logits[0, -1] for part in ids.split([7, 5], dim=1)]
    torch.testing.assert_close(found, torch.stack(apart), rtol=1e-4, atol=1e-4)


def test_in_evaluation_mode_and_after_its_end_the_model_is_as_ever() -> None:
    model, batch = model_of("llama"), batch_of((12, 7))
    end = narrow_last_block(model)
    assert "forward" in vars(model)
    model.eval()
    assert gradients(model, batch, 2)[2] == [12, 12, 12]
    model.train()
    assert gradients(model, batch, 2)[2] == [12, 12, 2]
    end()
    assert "forward" not in vars(model)
    assert gradients(model, batch, 2)[2] == [12, 12, 12]
    assert not any("forward" in vars(module) for module in model.modules())


def test_lengths_of_sequences_stand_for_a_mask() -> None:
    model = model_of("llama")
    mask = torch.tensor([3, 2], dtype=torch.int32).view(1, 1, 1, 2)
    found = LastBlock(model)._mask({"attention_mask": mask}, torch.tensor([1, 4]), 5)
    assert found is not None
    assert found.int().tolist() == [[[[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]]]]


@pytest.mark.parametrize(
    "given",
    [
        {},  # nothing says in what order the tokens stand
        {"position_ids": torch.tensor([[0, 1, 0, 1, 2]])},
        {"attention_mask": torch.ones(1, 5)},
        {"attention_mask": torch.ones(1, 1, 1, 5)},
    ],
)
def test_what_cannot_be_told_is_left(given: dict[str, Any]) -> None:
    assert LastBlock(model_of("llama"))._mask(given, torch.tensor([1, 4]), 5) is None


def test_a_model_whose_blocks_are_called_in_a_way_of_their_own_stays() -> None:
    config = GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).train()
    batch = batch_of((12, 7))
    expected = gradients(model, batch, 2)
    narrow_last_block(model)
    found = gradients(model, batch, 2)
    assert_close(found, expected)
    assert found[2] == [12, 12, 12]


def test_a_frozen_output_layer_is_rounded_once() -> None:
    model, batch = model_of("llama"), batch_of((12, 7))
    model.lm_head.weight.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = gradients(model, batch, 2)
    end = round_output_once(model)
    outer: Any = vars(model.lm_head)["forward"]
    kept = []
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradients(model, batch, 2)
        assert torch.equal(found[0], expected[0])
        assert found[1].keys() == expected[1].keys()
        assert all(torch.equal(found[1][name], expected[1][name]) for name in found[1])
        kept.append(outer._rounded)
    assert kept[0] is kept[1] is not None
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            doubled = model(**batch, use_cache=False, logits_to_keep=2).logits
    torch.testing.assert_close(doubled, 2 * expected[0])
    end()
    assert "forward" not in vars(model.lm_head)


def test_an_output_layer_that_learns_or_is_in_full_precision_is_left() -> None:
    model, batch = model_of("llama"), batch_of((12, 7))
    round_output_once(model)
    outer: Any = vars(model.lm_head)["forward"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "lm_head.weight" in gradients(model, batch, 2)[1]
    model.lm_head.weight.requires_grad_(False)
    gradients(model, batch, 2)
    assert outer._rounded is None
