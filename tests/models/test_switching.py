"""Adapters on disk, and several of them on one base."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from raglift.artifacts import file_sha256
from raglift.errors import UserError
from raglift.models import bottleneck
from raglift.models.adapters.bottleneck import PLUGIN, WEIGHTS, write
from raglift.models.bottleneck import Placement, Shape
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.fused import quicken
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.packed import can_pack
from raglift.models.switching import Adapters
from raglift.records import Target
from tests import tasks
from tests.models.test_bottleneck import stirred
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, build_embedding, build_llm

HALF = Runtime(torch.device("cpu"), torch.bfloat16, 1)
TARGETS: tuple[Target, ...] = ("embedding", "llm")
PLACEMENTS: tuple[Placement, ...] = ("houlsby", "pfeiffer", "parallel")


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


def trained(target: Target, base: Path, folder: Path, placement: Placement, seed: int) -> tuple[Path, Tensor]:
    """A folder with an adapter that learned something, and the outputs of the model that was saved."""
    model = tasks.load(target, base)
    shape = Shape(placement=placement, width=3 + seed, activation="gelu", scale=1.0, blocks=(seed % 2,))
    bottleneck.insert(model, "a", shape)
    bottleneck.use(model, "a")
    stirred(model, "a", seed)
    write(model, "a", shape, folder)
    return folder, tasks.outputs(target, base, model)


@pytest.mark.parametrize("target", TARGETS)
def test_each_adapter_gives_its_own_outputs_and_none_the_base_s(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    base = folders[target]
    model = tasks.load(target, base)
    expected: dict[str | None, Tensor] = {None: tasks.outputs(target, base, model)}
    adapters = Adapters(model)
    adapters.use(None)
    for seed, placement in enumerate(PLACEMENTS):
        folder, expected[placement] = trained(target, base, tmp_path / placement, placement, seed)
        adapters.add(placement, folder)
        assert adapters.active is None
    assert adapters.names == sorted(PLACEMENTS)
    pointers = {value.data_ptr() for value in model.parameters()}
    for name in (*PLACEMENTS, None, *reversed(PLACEMENTS)):
        adapters.use(name)
        assert adapters.active == name
        torch.testing.assert_close(tasks.outputs(target, base, model), expected[name], rtol=0, atol=1e-6)
        with adapters.using("houlsby"):
            assert adapters.active == "houlsby"
            with adapters.using(None):
                assert torch.equal(tasks.outputs(target, base, model), expected[None])
            torch.testing.assert_close(tasks.outputs(target, base, model), expected["houlsby"], rtol=0, atol=1e-6)
        assert adapters.active == name
    assert {value.data_ptr() for value in model.parameters()} == pointers
    assert not any(
        value.requires_grad for part in bottleneck.parts(model, "houlsby").values() for value in part.parameters()
    )
    for one, other in zip((*PLACEMENTS, None), (None, *PLACEMENTS), strict=True):
        assert not torch.allclose(expected[one], expected[other], atol=1e-3)


@pytest.mark.parametrize("runtime", [RUNTIME, HALF], ids=["float32", "bfloat16"])
def test_an_encoder_shares_its_weights_among_adapters(tiny_embedding: Path, tmp_path: Path, runtime: Runtime) -> None:
    """The encoder of half precision is a packed copy; an adapter that is put there says what a tuned model says."""
    texts = [question for question, _ in QUESTIONS]
    shared = Encoder(load_encoder(tiny_embedding, runtime), runtime)
    base = shared.encode(texts, "query")
    for seed, placement in enumerate(PLACEMENTS):
        folder, _ = trained("embedding", tiny_embedding, tmp_path / placement, placement, seed)
        Adapters(shared.model).add(placement, folder)
        own = Encoder(load_encoder(tiny_embedding, runtime, folder), runtime).encode(texts, "query")
        found = shared.with_adapter(placement).encode(texts, "query")
        np.testing.assert_allclose(found, own, atol=1e-6 if runtime is RUNTIME else 0.02)
        assert np.abs(found - base).max() > 0.05
        assert np.array_equal(shared.encode(texts, "query"), base)


@pytest.mark.parametrize("runtime", [RUNTIME, HALF], ids=["float32", "bfloat16"])
def test_a_generator_never_mixes_what_one_adapter_read_with_another(
    tiny_llm: Path, tmp_path: Path, runtime: Runtime
) -> None:
    """The kept keys and values of a prefix are those of the adapter that acts."""
    tokenizer, prefix = (
        load_tokenizer(tiny_llm),
        "The lighthouse keeper writes the name of every ship into a blue book.",
    )
    prompts = [question for question, _ in QUESTIONS[:3]]
    folders = {
        placement: trained("llm", tiny_llm, tmp_path / placement, placement, seed)[0]
        for seed, placement in enumerate(PLACEMENTS)
    }
    shared = Generator(quicken(load_causal_lm(tiny_llm, runtime)), tokenizer)
    for name, folder in folders.items():
        Adapters(shared.model).add(name, folder)

    def likely(generator: Generator) -> list[float | None]:
        scored = generator.score(prompts, [answer for _, answer in QUESTIONS[:3]], prefix=prefix)
        return [value.mean_log_probability for value in scored]

    def written(generator: Generator) -> list[str]:
        return generator.generate(prompts, Sampling(6), prefix=prefix)

    base = likely(shared)
    for name, folder in (*folders.items(), *folders.items()):
        own = Generator(quicken(load_causal_lm(tiny_llm, runtime, folder)), tokenizer)
        adapted = shared.with_adapter(name)
        if runtime is RUNTIME:
            assert written(adapted) == written(own)
        assert likely(adapted) == pytest.approx(likely(own), rel=1e-4 if runtime is RUNTIME else 0.05)
        assert likely(adapted) != pytest.approx(base, rel=0.01)
        assert likely(shared) == base
        Adapters(shared.model).use(name)
        assert likely(shared) == likely(adapted)
        assert likely(shared.with_adapter(None)) == base
        Adapters(shared.model).use(None)


@pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bfloat16 by oneDNN")
def test_an_adapter_stays_in_fused_layers(tiny_llm: Path, tmp_path: Path) -> None:
    ids = torch.arange(3, 40).view(1, -1)
    for seed, placement in enumerate(PLACEMENTS):
        folder, _ = trained("llm", tiny_llm, tmp_path / placement, placement, seed)
        model = load_causal_lm(tiny_llm, HALF, folder)
        with torch.inference_mode():
            before = model(ids).logits.float()
            with bottleneck.using(model, None):
                base = model(ids).logits.float()
            after = quicken(model)(ids).logits.float()
        kinds = [type(module).__name__ for module in model.modules()]
        assert (kinds.count("FusedGate"), kinds.count("Linear")) == (2, 0)
        assert (after - before).std() < 0.2 * (before - base).std()


def _record(folder: Path, *path: str, value: Any) -> None:
    file = folder / PLUGIN.marker
    record = inner = json.loads(file.read_text("utf-8"))
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(record), "utf-8")


def _rewritten(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    _record(folder, "weights", value=file_sha256(folder / WEIGHTS))


def _flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def _not_tensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"nothing")
    _record(folder, "weights", value=file_sha256(folder / WEIGHTS))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "No such file"),
    "no settings": (lambda folder: (folder / PLUGIN.marker).unlink(), "No such file"),
    "not json": (lambda folder: (folder / PLUGIN.marker).write_text("{", "utf-8") and None, "Invalid JSON"),
    "a bit flipped": (_flip, "is not the file that bottleneck.json was written for"),
    "no safetensors": (_not_tensors, "header"),
    "wrong width": (lambda folder: _record(folder, "shape", "width", value=9), r"has the shape \(3\,?\) in the file"),
    "a tensor less": (
        lambda folder: _rewritten(folder, lambda found: dict([*found.items()][1:])),
        "has the shape None",
    ),
    "a block too high": (lambda folder: _record(folder, "shape", "blocks", value=[2]), "there is no block 2"),
    "no block": (lambda folder: _record(folder, "shape", "blocks", value=[]), "at least 1"),
    "odd placement": (lambda folder: _record(folder, "shape", "placement", value="above"), "houlsby"),
    "another form": (lambda folder: _record(folder, "version", value=2), "version"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_said(damage: str, tiny_llm: Path, tmp_path: Path) -> None:
    folder, _ = trained("llm", tiny_llm, tmp_path / "a", "pfeiffer", 0)
    model = load_causal_lm(tiny_llm, RUNTIME)
    before = tasks.bits(model)
    harm, why = DAMAGES[damage]
    harm(folder)
    with pytest.raises(UserError, match="holds no sound bottleneck adapter") as caught:
        Adapters(model).add("a", folder)
    assert re.search(why, caught.value.why)
    assert caught.value.fix
    assert tasks.same(tasks.bits(model), before)
    assert Adapters(model).names == []


def test_another_base_is_refused(tiny_llm: Path, tiny_embedding: Path, tmp_path: Path) -> None:
    folder, expected = trained("llm", tiny_llm, tmp_path / "a", "houlsby", 0)
    revision = find_model(str(tiny_llm)).revision
    assert json.loads((folder / PLUGIN.marker).read_text("utf-8"))["base"]["revision"] == revision

    moved = shutil.copytree(tiny_llm, tmp_path / "moved")  # the same model elsewhere
    assert torch.equal(tasks.outputs("llm", tiny_llm, load_causal_lm(moved, RUNTIME, folder)), expected)

    other = build_llm(tmp_path / "other", seed=7)  # of the same form
    with pytest.raises(UserError, match="belongs to another base") as caught:
        load_causal_lm(other, RUNTIME, folder)
    assert find_model(str(other)).revision in caught.value.why
    assert revision in caught.value.why

    with pytest.raises(UserError, match="belongs to another base") as caught:
        load_encoder(tiny_embedding, RUNTIME, folder)
    assert "its kind is 'bert', the adapter's base has 'llama'" in caught.value.why
    with pytest.raises(UserError, match="cannot be put into this model"):
        Adapters(nn.Linear(2, 2)).add("a", folder)


def test_a_base_from_no_folder_is_compared_by_its_form(tiny_llm: Path, tmp_path: Path) -> None:
    folder, _ = trained("llm", tiny_llm, tmp_path / "a", "houlsby", 0)
    config = LlamaConfig.from_pretrained(tiny_llm)
    config.name_or_path = ""
    adapters = Adapters(LlamaForCausalLM(config))
    adapters.add("a", folder)
    assert adapters.names == ["a"]
    config.hidden_size = 64
    with pytest.raises(UserError, match="belongs to another base") as caught:
        Adapters(LlamaForCausalLM(config)).add("a", folder)
    assert caught.value.why == "its hidden is 64, the adapter's base has 32"


def test_two_seeds_of_one_form_are_two_bases(tmp_path: Path) -> None:
    one, other = (build_embedding(tmp_path / str(seed), seed) for seed in (0, 1))
    folder, _ = trained("embedding", one, tmp_path / "a", "parallel", 0)
    with pytest.raises(UserError, match="belongs to another base"):
        load_encoder(other, RUNTIME, folder)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "keys", "training", "forward"])
def test_names_that_torch_cannot_hold_are_refused(name: str, tiny_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be called"):
        Adapters(load_causal_lm(tiny_llm, RUNTIME)).add(name, tmp_path)


def test_a_name_that_is_taken_or_unknown_is_refused(tiny_llm: Path, tmp_path: Path) -> None:
    folder, _ = trained("llm", tiny_llm, tmp_path / "a", "houlsby", 0)
    adapters = Adapters(load_causal_lm(tiny_llm, RUNTIME))
    adapters.add("law", folder)
    with pytest.raises(UserError, match="already"):
        adapters.add("law", folder)
    with pytest.raises(UserError, match="no adapter called 'lew'") as caught:
        adapters.use("lew")
    assert "law" in caught.value.why
    with pytest.raises(UserError, match="no adapter called 'lew'"), adapters.using("lew"):
        pass
    assert adapters.active is None


def test_a_folder_is_added_once(tiny_llm: Path, tmp_path: Path) -> None:
    one, _ = trained("llm", tiny_llm, tmp_path / "a", "houlsby", 0)
    other, _ = trained("llm", tiny_llm, tmp_path / "b", "houlsby", 2)
    adapters = Adapters(load_causal_lm(tiny_llm, RUNTIME))
    names = [adapters.ensure(folder) for folder in (one, shutil.copytree(one, tmp_path / "copy"), other)]
    assert names[0] == names[1] != names[2]
    assert adapters.names == sorted(set(names))
