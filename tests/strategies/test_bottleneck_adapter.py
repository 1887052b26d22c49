"""The strategy's settings, its start, its mixes, and what its finish may take out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.models import bottleneck
from raglift.models.adapters.bottleneck import ATTACHED
from raglift.models.device import Runtime
from raglift.models.llm import load_causal_lm
from raglift.records import Target
from raglift.strategies.bottleneck_adapter import BottleneckAdapter, chosen
from raglift.training.parameters import trainable
from raglift.training.study import without_learning
from tests import tasks
from tests.fits import run_fit
from tests.models.test_bottleneck import stirred
from tests.tasks import bits, same


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((0,), (0,)),
        ((-1, 2), (2, 11)),
        (("4..7",), (4, 5, 6, 7)),
        (("-3..-1", 0, "0..1"), (0, 1, 9, 10, 11)),
        (("8..-2",), (8, 9, 10)),
        (("3",), (3,)),
        (("-12..11",), tuple(range(12))),
    ],
)
def test_blocks_are_numbers_and_ranges(blocks: tuple[int | str, ...], expected: tuple[int, ...]) -> None:
    assert BottleneckAdapter(blocks=blocks).blocks == blocks
    assert chosen(blocks, 12) == expected


@pytest.mark.parametrize(("block", "why"), [(12, "no block 12"), ("-13..2", "no block"), ("5..4", "before it begins")])
def test_blocks_that_the_model_has_not_are_said(block: int | str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        chosen((block,), 12)


@pytest.mark.parametrize(
    "settings",
    [
        {"blocks": ()},
        {"blocks": ("4-7",)},
        {"blocks": ("top",)},
        {"blocks": (1.5,)},
        {"blocks": "top"},
        {"width": 0},
        {"placement": "above"},
        {"activation": "step"},
        {"scale": 0},
        {"scale": float("inf")},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BottleneckAdapter(**settings)


def test_the_config_says_where_a_block_is_misspelt() -> None:
    strategy = {"bottleneck_adapter": {"blocks": ["top"]}}
    with pytest.raises(UserError, match="'top' is neither the number of a block nor a range"):
        config_from_dict({"data": {"documents": "d"}, "llm": {"strategies": [strategy]}})


def test_a_model_that_has_no_such_block_is_a_user_s_mistake(tiny_llm: Path, tmp_path: Path) -> None:
    model = load_causal_lm(tiny_llm, tasks.RUNTIME)
    with pytest.raises(ValueError, match=r"it has 2 blocks, 0 to 1 .*there is no block 2"):
        BottleneckAdapter(blocks=(2,)).prepare(model, "llm")


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
def test_it_starts_from_the_base_exactly(
    target: Target, placement: bottleneck.Placement, folders: dict[Target, Path]
) -> None:
    base = tasks.outputs(target, folders[target], tasks.load(target, folders[target]))
    model = BottleneckAdapter(placement=placement, blocks=(-1,)).prepare(tasks.load(target, folders[target]), target)
    assert torch.equal(tasks.outputs(target, folders[target], model), base)
    assert bottleneck.active(model) == ATTACHED
    names = trainable(model)
    assert len(names) == (8 if placement == "houlsby" else 4)
    assert all(".1.bottleneck." in name for name in names)
    assert {part.scale for part in bottleneck.parts(model, ATTACHED).values()} == {
        4.0 if placement == "parallel" else 1
    }


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_without_learning_it_is_the_base(target: Target, folders: dict[Target, Path]) -> None:
    model = BottleneckAdapter(placement="parallel").prepare(tasks.load(target, folders[target]), target).eval()
    start = {name: value.detach().clone() for name, value in trainable(model).items()}
    plain = tasks.load(target, folders[target]).eval()
    stirred(model, ATTACHED)
    ids = torch.tensor([[5, 6, 7]])
    call: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def output(called: Any) -> Tensor:
        return Tensor(called["sentence_embedding"] if target == "embedding" else called.logits)

    def plainly(model: nn.Module) -> Tensor:
        with torch.no_grad():
            return output(model(dict(call)) if target == "embedding" else model(**call))

    args = (dict(call),) if target == "embedding" else ()
    learned = without_learning(model, start, *args, **({} if args else call))
    assert torch.equal(output(learned), plainly(plain))
    assert not torch.allclose(plainly(model), plainly(plain), atol=1e-3)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_mix_lies_on_the_line_of_what_the_adapter_adds(share: float, tiny_llm: Path) -> None:
    strategy = BottleneckAdapter(placement="houlsby")
    model = strategy.prepare(load_causal_lm(tiny_llm, tasks.RUNTIME), "llm")
    start = {name: value.detach().clone() for name, value in trainable(model).items()}
    stirred(model, ATTACHED)
    tuned = {name: value.detach().clone() for name, value in trainable(model).items()}
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))

    def added() -> list[Tensor]:
        with torch.no_grad():
            return [part(x) for part in bottleneck.parts(model, ATTACHED).values()]

    whole = added()
    assert all(value.abs().max() > 0.1 for value in whole)
    model.load_state_dict(strategy.mix(start, tuned, share), strict=False)
    for mixed, value in zip(added(), whole, strict=True):
        torch.testing.assert_close(mixed, share * value, rtol=0, atol=1e-5)


def test_finish_takes_out_only_what_adds_nothing(tiny_llm: Path) -> None:
    strategy = BottleneckAdapter()
    plain = bits(load_causal_lm(tiny_llm, tasks.RUNTIME))
    model = strategy.prepare(load_causal_lm(tiny_llm, tasks.RUNTIME), "llm")
    assert same(bits(strategy.finish(model)), plain)
    model = strategy.prepare(load_causal_lm(tiny_llm, tasks.RUNTIME), "llm")
    stirred(model, ATTACHED)
    expected = tasks.outputs("llm", tiny_llm, model)
    assert torch.equal(tasks.outputs("llm", tiny_llm, strategy.finish(model)), expected)


@pytest.mark.parametrize("placement", ["pfeiffer", "parallel"])
@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_every_placement_learns_in_half_precision_too(
    target: Target,
    placement: bottleneck.Placement,
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.fits.strategies_named", lambda _: [BottleneckAdapter(placement=placement)])
    runtime = Runtime(torch.device("cpu"), torch.bfloat16, 1)
    fitted = run_fit(target, (), folders[target], tmp_path, steps=20, runtime=runtime, checkpoint_seconds=30.0)
    losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
    assert all(value.dtype == torch.float32 for value in trainable(fitted.model).values())
