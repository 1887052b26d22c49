"""The sub-layers are found in every family of models that the shapes of their layers tell apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, T5Config, T5EncoderModel

from raglift.models import bottleneck
from raglift.models.bottleneck import Placement
from raglift.models.sublayers import ADAPTERS, attention_end, feed_forward
from raglift.training.parameters import block_list
from tests.models.test_bottleneck import IDS, WIDTH, shape, states, stirred
from tests.tasks import bits

PLACEMENTS: tuple[Placement, ...] = ("houlsby", "parallel")


def config_of(kind: str) -> Any:
    """A tiny configuration; a model takes those of the settings that it knows."""
    common: dict[str, Any] = {"vocab_size": 20, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    common |= {"intermediate_size": 24, "max_position_embeddings": 64, "pad_token_id": 1}
    special: dict[str, dict[str, Any]] = {
        "gpt2": {"n_inner": 24},
        "opt": {"ffn_dim": 24, "word_embed_proj_dim": WIDTH},
        "distilbert": {"hidden_dim": 24},
        "albert": {"embedding_size": 8},
        "gemma2": {"head_dim": 8, "num_key_value_heads": 1},
        "qwen2": {"num_key_value_heads": 1},
        "qwen3": {"num_key_value_heads": 1, "head_dim": 8},
        "phi3": {"num_key_value_heads": 1},
        "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "head_dim": 8}
        | {"num_key_value_heads": 1},
        "mixtral": {"num_local_experts": 2, "num_key_value_heads": 1},
        "modernbert": {"global_attn_every_n_layers": 1},
    }
    config = AutoConfig.for_model(kind, **(common | special.get(kind, {})))
    for name in ("initializer_range", "init_std", "initializer_cutoff_factor"):
        if hasattr(config, name):
            setattr(config, name, 3.0 if name == "initializer_cutoff_factor" else 0.3)
    return config


ENCODERS = ("albert", "bert", "deberta-v2", "distilbert", "modernbert", "mpnet", "nomic_bert", "roberta", "t5")
DECODERS = ("bloom", "falcon", "gemma2", "gpt2", "gpt_neox", "opt", "phi", "phi3", "qwen2", "qwen3")
EXPERTS = ("mixtral", "qwen3_moe")


def model_of(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if kind == "t5":
        return T5EncoderModel(T5Config(vocab_size=20, d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2)).eval()
    model: PreTrainedModel = AutoModel.from_config(config_of(kind))
    return model.eval()


class Nothing(nn.Module):
    """Stands for an adapter that takes its sub-layer's output away."""

    beside = False

    def forward(self, x: Tensor) -> Tensor:
        return -x


def silenced(model: nn.Module, place: str) -> None:
    """Take one kind of sub-layer out of every block."""
    for block in block_list(model)[1]:
        site = block.get_submodule(ADAPTERS)[place]  # type: ignore[index]
        site._acting = Nothing


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS, *EXPERTS])
def test_each_family_s_sub_layers_are_found(kind: str) -> None:
    """Without its attention no token hears of another; without its feed-forward layer their weights do not matter."""
    model = model_of(kind)
    count = len(block_list(model)[1])
    base, before = states(model), bits(model)
    other = IDS.clone()
    other[:, 0] = 13
    for placement in PLACEMENTS:
        bottleneck.insert(model, placement, shape(placement, tuple(range(count))))
        bottleneck.use(model, placement)
        assert torch.equal(states(model), base)  # near the identity: exactly it, at the start
        stirred(model, placement)
        assert (states(model) - base).abs().max() > 1e-3
    bottleneck.use(model, None)
    assert torch.equal(states(model), base)

    assert not torch.equal(states(model, other)[:, 1:], base[:, 1:])
    deaf = copy.deepcopy(model)
    silenced(deaf, "attention")
    torch.testing.assert_close(states(deaf, other)[:, 1:], states(deaf)[:, 1:], rtol=0, atol=1e-6)

    fasting = copy.deepcopy(model)
    silenced(fasting, "feed_forward")
    expected = states(fasting)
    for plain in (model, fasting):
        for block in block_list(plain)[1]:
            ends = {end for pair in [feed_forward(block, WIDTH)] for end in pair}
            with torch.no_grad():
                for parameter in {p for end in ends for p in end.parameters()}:
                    parameter.mul_(1.5)
    torch.testing.assert_close(states(fasting), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(states(model), base, atol=1e-4)

    with torch.no_grad():
        for block in block_list(model)[1]:
            for parameter in {p for end in feed_forward(block, WIDTH) for p in end.parameters()}:
                parameter.div_(1.5)
    for placement in PLACEMENTS:
        bottleneck.remove(model, placement)
    assert bits(model).keys() == before.keys()
    assert not any(module._forward_hooks for module in model.modules())


class Odd(nn.Module):
    """A block whose layers have no shapes or names that tell."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


def test_what_is_not_found_is_said() -> None:
    two = Odd(self_attn=nn.Linear(4, 4), first=nn.Linear(4, 4), second=nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"Odd no feed-forward layer .* first \(4 to 4\), second \(4 to 4\)"):
        feed_forward(two, 4)
    with pytest.raises(ValueError, match=r"no feed-forward layer .*: none"):
        feed_forward(Odd(self_attn=nn.Linear(4, 4)), 4)
    with pytest.raises(ValueError, match=r"no output projection of an attention to width 4 .*: none"):
        attention_end(Odd(mixer=nn.Linear(4, 4)), 4)
    with pytest.raises(ValueError, match=r"no output projection .*: attention.q \(4 to 4\)"):
        attention_end(Odd(attention=Odd(q=nn.Linear(4, 4), o=nn.Linear(4, 3))), 4)
