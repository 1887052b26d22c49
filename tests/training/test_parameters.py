"""The ordered view of a model's blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from raglift.records import Target
from raglift.training.parameters import block_list, blocks_below, depths
from tests import tasks
from tests.fits import strategies_named


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("names", [("full",), ("lora",), ("bottleneck_adapter",)])
def test_every_parameter_has_its_depth(
    target: Target, names: tuple[str, ...], tiny_llm: Path, tiny_embedding: Path
) -> None:
    folder = {"llm": tiny_llm, "embedding": tiny_embedding}[target]
    model = strategies_named(names)[0].prepare(tasks.load(target, folder), target)
    assert len(block_list(model)[1]) == 2
    found = depths(model)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert set(found.values()) == {0, 1, 2, 3}
    for name, depth in found.items():
        if "embed" in name.lower():
            assert depth == 0
        for number in (0, 1):
            if f"layers.{number}." in name or f"layer.{number}." in name:
                assert depth == number + 1


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="no list of transformer blocks"):
        block_list(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("ends", "below"),
    [((), 0), (("1.mlp", "0.mlp"), 0), (("1.mlp",), 1), (("1.mlp", "1.self_attn"), 1), (("1.mlp", ""), 0)],
)
def test_blocks_below_what_is_named(ends: tuple[str, ...], below: int, tiny_llm: Path) -> None:
    model = tasks.load("llm", tiny_llm)
    names = [f"model.layers.{end}" if end else "model.norm" for end in ends]
    assert blocks_below(model, names) == below
