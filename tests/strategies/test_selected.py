"""Strategies that pick weights of the base: the top layers, the vital entries, the biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from raglift.errors import UserError
from raglift.models.adapters import sparse
from raglift.models.attach import attach
from raglift.models.encoder import load_encoder
from raglift.models.llm import load_causal_lm
from raglift.records import Target
from raglift.strategies.bias_only import BiasOnly
from raglift.strategies.top_layers import TopLayers
from raglift.strategies.vital_parameters import VitalParameters, highest
from raglift.training.loop import Fitted, fit
from raglift.training.parameters import trainable
from raglift.training.strategy import Strategy
from tests import tasks
from tests.fits import settings_of
from tests.tasks import RUNTIME, bits

both = pytest.mark.parametrize("target", ["embedding", "llm"])


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    """Target -> folder of its tiny model."""
    return {"embedding": tiny_embedding, "llm": tiny_llm}


def trained(target: Target, strategy: Strategy, folder: Path, work: Path, **settings: Any) -> Fitted:
    model = tasks.load(target, folder)
    wanted = settings_of(target, **settings)
    return fit(model, tasks.task(target, folder, model), [strategy], wanted, RUNTIME, tasks.job(work, 5))


def reloaded(target: Target, folder: Path, tuned: Path) -> nn.Module:
    return load_causal_lm(folder, RUNTIME, tuned) if target == "llm" else load_encoder(folder, RUNTIME, tuned)


def deep(blocks: int, tied: bool) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize(("layers", "first"), [(3, 3), (1, 5), (6, 0), (0.5, 3), (0.25, 4), (0.01, 5)])
def test_the_top_layers_and_what_lies_above_them_learn(layers: float, first: int) -> None:
    learning = set(trainable(TopLayers(layers=layers).prepare(deep(6, tied=False), "llm")))
    assert {int(name.split(".")[2]) for name in learning if ".layers." in name} == set(range(first, 6))
    assert {name for name in learning if ".layers." not in name} == {"model.norm.weight", "lm_head.weight"}


def test_tied_embeddings_stay_frozen_below_the_top_layers() -> None:
    learning = set(trainable(TopLayers(layers=1).prepare(deep(2, tied=True), "llm")))
    assert "model.norm.weight" in learning
    assert "model.embed_tokens.weight" not in learning
    assert all(name.startswith(("model.layers.1.", "model.norm.")) for name in learning)


def test_more_layers_than_there_are_is_refused(tiny_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 blocks, and the top 3") as caught:
        trained("llm", TopLayers(layers=3), tiny_llm, tmp_path)
    assert "topl" in str(caught.value)
    for layers in (1.5, 0, -1):
        with pytest.raises(ValidationError):
            TopLayers(layers=layers)


def test_the_biases_learn_or_the_norms_where_there_are_none(tiny_embedding: Path, tiny_llm: Path) -> None:
    encoder = trainable(BiasOnly().prepare(tasks.load("embedding", tiny_embedding), "embedding"))
    assert {name.rpartition(".")[2] for name in encoder} == {"bias"}
    assert any("LayerNorm" in name for name in encoder)
    assert any("query" in name for name in encoder)
    llama = trainable(BiasOnly().prepare(tasks.load("llm", tiny_llm), "llm"))
    norms = {"input_layernorm", "post_attention_layernorm", "norm"}
    assert {name.split(".")[-2] for name in llama} == norms
    assert len(llama) == 5
    with pytest.raises(ValueError, match="neither biases nor norms"):
        BiasOnly().prepare(nn.Sequential(nn.Linear(2, 2, bias=False)), "llm")


@both
@pytest.mark.parametrize("score", ["fisher", "gradient", "movement"])
def test_only_vital_entries_move(target: Target, score: Any, folders: dict[Target, Path], tmp_path: Path) -> None:
    folder, strategy = folders[target], VitalParameters(score=score, share=0.02)
    fitted = trained(target, strategy, folder, tmp_path / "work", weight_decay=0.5)
    base, claimed = bits(tasks.load(target, folder)), trainable(fitted.model)
    moved = {name: value != base[name] for name, value in claimed.items()}
    entries = sum(value.numel() for value in claimed.values())
    chosen = sum(int(mask.sum()) for mask in strategy._masks.values())
    assert chosen == round(0.02 * entries)
    assert all(not bool((mask & ~strategy._masks[name]).any()) for name, mask in moved.items())
    assert sum(int(mask.sum()) for mask in moved.values()) > 0.9 * chosen

    assert strategy.save(fitted.model, tmp_path / "out")
    stored = load_file(tmp_path / "out" / sparse.FILE)
    assert sum(value.numel() for key, value in stored.items() if key.startswith("values:")) == chosen
    loaded = bits(reloaded(target, folder, tmp_path / "out"))
    assert all(torch.equal(value, loaded[name]) for name, value in bits(fitted.model).items())


def gradients_by_hand(target: Target, folder: Path) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """The gradient of each of the two batches of an epoch, and the weights."""
    model = VitalParameters().prepare(tasks.load(target, folder), target)
    task = tasks.task(target, folder, model)
    model.eval()
    found = []
    for index in range(2):
        model.zero_grad()
        task.loss(model, task.batches.batch(0, index)).backward()  # type: ignore[no-untyped-call]
        found.append({name: p.grad.clone() for name, p in trainable(model).items() if p.grad is not None})
    return found, {name: p.detach() for name, p in trainable(model).items()}


@both
def test_the_scores_are_those_of_the_papers(target: Target, folders: dict[Target, Path], tmp_path: Path) -> None:
    (one, two), weights = gradients_by_hand(target, folders[target])
    by_hand: dict[Any, dict[str, Tensor]] = {
        "fisher": {name: one[name] ** 2 + two[name] ** 2 for name in one},
        "gradient": {name: (one[name] + two[name]).abs() for name in one},
        "movement": {name: -weights[name] * (one[name] + two[name]) for name in one},
    }
    for score, scores in by_hand.items():
        strategy = VitalParameters(score=score, share=0.01)
        trained(target, strategy, folders[target], tmp_path / score, steps=1, evaluations=1)
        missing = {name: torch.zeros_like(weight) for name, weight in weights.items() if name not in scores}
        flat = torch.cat([(scores | missing)[name].flatten() for name in weights])
        kept = torch.cat([strategy._masks[name].flatten() for name in weights])
        assert float(flat[kept].min()) >= float(flat[~kept].max())


def test_the_highest_share_is_taken_over_all_tensors_together() -> None:
    scores = {"a": torch.tensor([[1.0, 9.0], [8.0, 2.0]]), "b": torch.tensor([7.0, 0.0, 3.0, -5.0])}
    masks = highest(scores, 3 / 8)
    assert masks["a"].tolist() == [[False, True], [True, False]]
    assert masks["b"].tolist() == [True, False, False, False]
    assert int(sum(mask.sum() for mask in highest(scores, 1e-9).values())) == 1
    assert all(bool(mask.all()) for mask in highest(scores, 1.0).values())


def test_vital_entries_are_chosen_from_the_named_layers(tiny_llm: Path) -> None:
    strategy = VitalParameters.model_validate({"target_modules": ("q_proj", "v_proj")})
    claimed = trainable(strategy.prepare(tasks.load("llm", tiny_llm), "llm"))
    assert {name.split(".")[-2] for name in claimed} == {"q_proj", "v_proj"}
    with pytest.raises(ValueError, match="no linear layer of its blocks ends in nothing"):
        VitalParameters(target_modules="nothing").prepare(tasks.load("llm", tiny_llm), "llm")


def test_the_whole_model_can_be_wanted(tiny_llm: Path, tmp_path: Path) -> None:
    strategy = VitalParameters(whole=True)
    assert not strategy.save(strategy.prepare(tasks.load("llm", tiny_llm), "llm"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@both
def test_a_sparse_difference_of_another_model_is_refused(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder = folders[target]
    name, weight = next(iter(tasks.load(target, folder).named_parameters()))
    wrong: list[dict[str, Tensor]] = [
        {"values:nowhere": torch.zeros(1)},
        {f"values:{name}": torch.zeros(weight.numel() + 1)},
        {f"values:{name}": torch.zeros(1), f"places:{name}": torch.tensor([weight.numel()])},
        {f"values:{name}": torch.zeros(2), f"places:{name}": torch.tensor([0])},
    ]
    for tensors in wrong:
        save_file(tensors, tmp_path / sparse.FILE)
        with pytest.raises(UserError, match="does not go onto this model"):
            reloaded(target, folder, tmp_path)


@both
def test_a_sparse_difference_merges_into_a_whole_model(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder, strategy = folders[target], BiasOnly()
    fitted = trained(target, strategy, folder, tmp_path / "work")
    strategy.save(fitted.model, tmp_path / "out")
    base: Any = tasks.load(target, folder)
    attach(base, tmp_path / "out").save_pretrained(str(tmp_path / "merged"))  # type: ignore[operator]
    expected = tasks.outputs(target, folder, fitted.model)
    whole: nn.Module = (
        LlamaForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
        if target == "llm"
        else SentenceTransformer(str(tmp_path / "merged"), device="cpu")
    )
    assert torch.equal(tasks.outputs(target, folder, whole), expected)
    assert not torch.equal(tasks.outputs(target, folder, tasks.load(target, folder)), expected)
