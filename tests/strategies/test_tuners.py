"""Every tuner behind `lora`, on both targets: trained, saved, loaded, merged, mixed, killed and resumed."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch import Tensor, nn

from raglift.config import PluginSpec
from raglift.config_check import check_specs
from raglift.models.device import Runtime
from raglift.models.encoder import load_encoder
from raglift.models.llm import load_causal_lm
from raglift.records import Target
from raglift.strategies._tuners import TUNERS
from raglift.strategies.lora import Lora
from raglift.training.loop import Fitted, Task, fit
from raglift.training.parameters import trainable
from raglift.training.recipe import learning_rate
from tests import tasks
from tests.fits import RATE, Killed, killing, settings_of
from tests.tasks import QUIET, RUNTIME, bits, same

SMALL = {"vera": {"rank": 32}, "oft": {"rank": 8}, "road": {"rank": 8}, "randlora": {"rank": 8, "alpha": 160}}
"""Settings that fit into layers of width 16 and 32 where the defaults do not."""
ROUNDED = {"pissa", "olora", "hra"}
"""Those that split the base's weights, or multiply by a product that is the identity but for rounding."""

every_tuner = pytest.mark.parametrize("tuner", sorted(TUNERS))
both = pytest.mark.parametrize("target", ["embedding", "llm"])


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    """Target -> folder of its tiny model."""
    return {"embedding": tiny_embedding, "llm": tiny_llm}


def lora(tuner: str, **settings: Any) -> Lora:
    size = {"rank": 4} if "rank" in TUNERS[tuner].settings else {}
    return Lora.model_validate({"tuner": tuner, **size, **SMALL.get(tuner, {}), **settings})


def trained(
    target: Target,
    strategy: Lora,
    folder: Path,
    work: Path,
    kill: dict[str, int] | None = None,
    runtime: Runtime = RUNTIME,
    **settings: Any,
) -> Fitted:
    """One `fit` as a new process would do it."""
    torch.manual_seed(random.randrange(2**31))
    model = tasks.load(target, folder, runtime)
    task: Task = tasks.task(target, folder, model)
    if kill:
        task = killing(task, **kill)
    rate = RATE[target] * min(3.0, TUNERS[strategy.tuner].rate)
    wanted = settings_of(target, **{"learning_rate": rate, **settings})
    runtime = replace(runtime, checkpoint_seconds=0 if kill else 30)
    return fit(model, task, [strategy], wanted, runtime, tasks.job(work, 5, QUIET))


def adapted(model: nn.Module) -> PeftModel:
    found = next(module for module in model.modules() if isinstance(module, PeftModel))
    assert isinstance(found, PeftModel)
    return found


def close(left: dict[str, Tensor], right: dict[str, Tensor], atol: float) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=0, atol=atol)


@both
@every_tuner
def test_a_tuner_starts_from_the_base_learns_and_comes_back(
    target: Target, tuner: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder, strategy = folders[target], lora(tuner)
    base = bits(tasks.load(target, folder))
    start = lora(tuner)
    unlearned = start.finish(start.prepare(tasks.load(target, folder), target))
    if tuner in ROUNDED:
        close(bits(unlearned), base, 1e-5)
    else:
        assert same(bits(unlearned), base)
    fitted = trained(target, strategy, folder, tmp_path / "work", steps=30)
    assert fitted.chosen != "base"
    history = [entry["dev"] for entry in fitted.history]
    assert max(history) > history[0] + 0.02
    expected = tasks.outputs(target, folder, fitted.model)

    out = tmp_path / "adapter"
    if target == "llm":
        assert strategy.save(fitted.model, out)
        loaded: nn.Module = load_causal_lm(folder, RUNTIME, out)
    else:
        assert not strategy.save(fitted.model, out)
        adapted(fitted.model).save_pretrained(str(out))
        loaded = load_encoder(folder, RUNTIME, out)
    assert {file.suffix for file in out.iterdir()} <= {".safetensors", ".json", ".md"}
    torch.testing.assert_close(tasks.outputs(target, folder, loaded), expected, rtol=0, atol=1e-4)
    assert bits(loaded).keys() == base.keys()

    merged = strategy.finish(fitted.model)
    assert not any(isinstance(module, PeftModel) for module in merged.modules())
    torch.testing.assert_close(tasks.outputs(target, folder, merged), expected, rtol=0, atol=1e-4)


@both
@every_tuner
def test_a_tuner_leaves_the_base_alone_and_is_resumed_bit_for_bit(
    target: Target, tuner: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder = folders[target]
    torch.manual_seed(5)
    frozen = bits(lora(tuner).prepare(tasks.load(target, folder), target))
    whole = trained(target, lora(tuner), folder, tmp_path / "whole")
    claimed = trainable(whole.model)
    kept = {name: value for name, value in bits(whole.model).items() if name not in claimed}
    assert all(torch.equal(frozen[name], value) for name, value in kept.items())
    at = random.randint(1, 8)
    with pytest.raises(Killed):
        trained(target, lora(tuner), folder, tmp_path / "cut", {"loss_at": at})
    resumed = trained(target, lora(tuner), folder, tmp_path / "cut")
    assert resumed.history == whole.history, f"killed at step {at}"
    assert same(bits(resumed.model), bits(whole.model)), f"killed at step {at}"


@both
@pytest.mark.parametrize("tuner", sorted(name for name, tuner in TUNERS.items() if tuner.mixes))
def test_a_mix_lies_on_the_line_between_the_merged_weights(
    target: Target, tuner: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    strategy, folder = lora(tuner), folders[target]
    fitted = trained(target, strategy, folder, tmp_path)
    parameters = trainable(fitted.model)
    tuned = {name: value.detach().clone() for name, value in parameters.items()}
    torch.manual_seed(5)
    begun = {k: v.detach().clone() for k, v in trainable(strategy.prepare(tasks.load(target, folder), target)).items()}

    def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
        torch.manual_seed(5)
        model = strategy.prepare(tasks.load(target, folder), target)
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(state[name])
        return bits(strategy.finish(model))

    base, whole = bits(tasks.load(target, folder)), merged(tuned)
    assert not same(whole, base)
    for share in (0.25, 0.75):
        for name, value in merged(strategy.mix(begun, tuned, share)).items():
            expected = base[name] + share * (whole[name] - base[name])
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("tuner", sorted(name for name, tuner in TUNERS.items() if not tuner.mixes))
def test_what_cannot_be_mixed_says_so_and_is_refused_beside_what_needs_mixes(tuner: str) -> None:
    with pytest.raises(ValueError, match="no mixes"):
        lora(tuner).mix({}, {}, 0.5)
    specs = [PluginSpec(name="lora", settings={"tuner": tuner}), PluginSpec(name="weight_interpolation", settings={})]
    message = "'weight_interpolation' needs mixes of base and tuned weights, and 'lora' has none with these settings"
    assert check_specs("llm", specs) == [((1,), message)]
    assert check_specs("llm", [PluginSpec(name="lora", settings={}), specs[1]]) == []


@pytest.mark.parametrize("tuner", ["pissa", "olora"])
def test_a_split_base_is_saved_as_a_lora_for_the_plain_base(tuner: str, tiny_llm: Path, tmp_path: Path) -> None:
    strategy = lora(tuner)
    fitted = trained("llm", strategy, tiny_llm, tmp_path / "work")
    expected = tasks.outputs("llm", tiny_llm, fitted.model)
    strategy.save(fitted.model, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["init_lora_weights"], config["r"]) == (True, 8)
    plain = PeftModel.from_pretrained(tasks.load("llm", tiny_llm), str(tmp_path / "out"))
    torch.testing.assert_close(tasks.outputs("llm", tiny_llm, plain), expected, rtol=0, atol=1e-4)
    with plain.disable_adapter():
        base = tasks.outputs("llm", tiny_llm, tasks.load("llm", tiny_llm))
        assert torch.equal(tasks.outputs("llm", tiny_llm, plain), base)


@every_tuner
def test_a_tuner_learns_in_float32_beside_a_base_in_bfloat16(tuner: str, tiny_llm: Path, tmp_path: Path) -> None:
    strategy, half = lora(tuner), replace(RUNTIME, dtype=torch.bfloat16)
    fitted = trained("llm", strategy, tiny_llm, tmp_path / "work", runtime=half)
    assert fitted.chosen != "base"
    assert {value.dtype for value in trainable(fitted.model).values()} == {torch.float32}
    expected = tasks.outputs("llm", tiny_llm, fitted.model).float()
    strategy.save(fitted.model, tmp_path / "out")
    base = tasks.outputs("llm", tiny_llm, tasks.load("llm", tiny_llm, half)).float()
    found = tasks.outputs("llm", tiny_llm, load_causal_lm(tiny_llm, half, tmp_path / "out")).float()
    assert float((found - expected).abs().mean()) < 0.5 * float((expected - base).abs().mean())


@both
def test_adalora_takes_ranks_down_to_its_budget(target: Target, folders: dict[Target, Path], tmp_path: Path) -> None:
    strategy, folder = lora("adalora"), folders[target]
    fitted = trained(target, strategy, folder, tmp_path / "work", steps=20, evaluations=1)
    assert fitted.chosen == "step 20"
    left = [int((p != 0).sum()) for name, p in trainable(fitted.model).items() if "lora_E" in name]
    assert sum(left) == 4 * len(left)
    assert max(left) > 4  # a layer that needs more has more


def test_adalora_keeps_its_factors_near_orthogonal(tiny_llm: Path) -> None:
    strategy = lora("adalora")
    model = strategy.prepare(tasks.load("llm", tiny_llm), "llm")
    batch = tasks.task("llm", tiny_llm, model).batches.batch(0, 0)
    with torch.no_grad():
        plain = model(**batch).loss
        both_terms = adapted(model).base_model(**batch).loss  # PEFT adds the term where transformers computes the loss
    ours = strategy.losses(model, batch)["orthogonality"]
    torch.testing.assert_close(ours, both_terms - plain, rtol=1e-5, atol=1e-6)
    assert float(ours.detach()) > 0
    assert ours.requires_grad


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_adalora_survives_the_shortest_trainings(steps: int, tiny_llm: Path, tmp_path: Path) -> None:
    fitted = trained("llm", lora("adalora"), tiny_llm, tmp_path, steps=steps, evaluations=1)
    assert all(math.isfinite(entry["dev"]) for entry in fitted.history)


def test_loraplus_learns_b_sixteen_times_faster(tiny_llm: Path) -> None:
    strategy = lora("loraplus")
    model = strategy.prepare(tasks.load("llm", tiny_llm), "llm")
    factors = strategy.rates(model, "llm")
    assert set(factors.values()) == {16.0}
    assert factors.keys() == {name for name in trainable(model) if ".lora_B." in name}
    assert lora("lora").rates(model, "llm") == {}


def test_a_tuner_brings_its_own_defaults_and_rate() -> None:
    assert (Lora().rank, Lora(tuner="vera").rank, Lora.model_validate({"tuner": "vera", "rank": 7}).rank) == (
        16,
        256,
        7,
    )
    assert learning_rate("auto", "llm", [Lora()], 10) == 5e-4
    assert learning_rate("auto", "llm", [Lora(tuner="ia3")], 10) == pytest.approx(5e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tuner": "pisa"}, "there is no tuner 'pisa' \\(did you mean 'pissa'\\?\\)"),
        ({"tuner": "ia3", "rank": 4}, "the tuner 'ia3' has no rank"),
        ({"tuner": "hra", "alpha": 4}, "the tuner 'hra' has no alpha"),
        ({"tuner": 3}, "valid string"),
    ],
)
def test_what_a_tuner_has_not_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Lora.model_validate(settings)
    assert check_specs("llm", [PluginSpec(name="lora", settings=settings)])


def test_the_docs_table_is_of_the_tuners_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text("utf-8")
    section = page.partition("### Tuners")[2].partition("### ")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in section.split("\n") if "| `" in line][
        1:
    ]
    assert [row[0].strip("`") for row in rows] == list(TUNERS)
    for (_, _, settings, rate, mixes, paper), tuner in zip(rows, TUNERS.values(), strict=True):
        assert settings == (", ".join(f"`{name}` {value:g}" for name, value in tuner.settings.items()) or "none")
        assert (float(rate), mixes == "yes", paper) == (tuner.rate, tuner.mixes, tuner.paper)
