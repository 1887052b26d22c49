"""What every strategy, alone and in a mixture, keeps to on every target that it declares."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from pathlib import Path
from random import SystemRandom
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from raglift import plugins
from raglift.artifacts import WORK
from raglift.config import EmbeddingConfig, LLMConfig, PluginSpec, RerankConfig
from raglift.config_check import check_specs
from raglift.models.device import Runtime
from raglift.models.find import find_model
from raglift.models.llm import load_tokenizer
from raglift.models.reranker import head, load_reranker
from raglift.progress import Progress
from raglift.records import Target
from raglift.training import embedding_stage, llm_stage, rerank_stage
from raglift.training.forecast import FEWEST
from raglift.training.loop import Fitted, Task, fit
from raglift.training.outcome import read_outcome
from raglift.training.parameters import trainable
from tests import tasks
from tests.fits import EVALUATIONS, STEPS, Killed, killing, rate_of, run_fit, specs_named, strategies_named
from tests.tasks import RUNTIME, bits, same

Combination = tuple[Target, tuple[str, ...]]
random = SystemRandom()
"""Not the module, which every training seeds: a test would kill at the same step for ever."""


TARGETS = get_args(Target)
MIXTURES = 36
"""Most mixtures that are tried: a strategy that is added joins them in the place of some others."""


def _alone() -> Iterator[Combination]:
    for name in plugins.names("strategy"):
        for target in sorted(plugins.load("strategy", name).targets):
            yield target, (name,)


def _allowed() -> Iterator[Combination]:
    """What trains with a schedule, an anchor or both, where the classes allow it."""
    for target in TARGETS:
        on: dict[str, list[str]] = {}
        for name in plugins.names("strategy"):
            if target in plugins.load("strategy", name).targets:
                on.setdefault(plugins.load("strategy", name).axis, []).append(name)
        for parameters, *further in product(on["parameters"], ["", *on["schedule"]], ["", *on["anchor"]]):
            names = (parameters, *filter(None, further))
            if len(names) > 1 and not check_specs(target, [PluginSpec(name=name) for name in names]):
                yield target, names


def _mixtures(most: int) -> list[Combination]:
    """Mixtures in an order that lets every two strategies meet early, and then on each target, cut at `most`."""
    left = sorted(_allowed(), key=lambda each: hashlib.sha256(repr(each).encode()).digest())
    met: set[Any] = set()
    chosen: list[Combination] = []

    def news(each: Combination) -> tuple[int, int]:
        pairs = set(combinations(each[1], 2))
        return len(pairs - met), len({(each[0], pair) for pair in pairs} - met)

    while left and len(chosen) < most:
        target, names = best = max(left, key=news)
        left.remove(best)
        chosen.append(best)
        met |= {found for pair in combinations(names, 2) for found in (pair, (target, pair))}
    return chosen


def _each(found: Iterable[Combination]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("target", "names"), [pytest.param(*each, id="-".join([each[0], *each[1]])) for each in found]
    )


every_strategy = _each(_alone())
every_combination = _each([*_alone(), *_mixtures(MIXTURES)])


def test_thirty_mixtures_in_which_every_two_strategies_meet() -> None:
    mixtures = _mixtures(MIXTURES)
    assert 30 <= len(set(mixtures)) == len(mixtures) <= MIXTURES
    assert {target for target, _ in mixtures} == set(TARGETS)

    def pairs(found: Iterable[Combination]) -> set[tuple[str, str]]:
        return {pair for _, names in found for pair in combinations(names, 2)}

    assert pairs(mixtures) == pairs(_allowed())


@every_combination
def test_the_loss_falls(target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path) -> None:
    folder = folders[target]
    # Schedules and pulls hold the training back: the more of them, the longer it takes.
    fitted = run_fit(target, names, folder, tmp_path, steps=30 * len(names), checkpoint_seconds=30.0)
    task = tasks.task(target, folder, fitted.model)
    before = tasks.fixed_loss(base := tasks.load(target, folder), task.batches, tasks.task(target, folder, base).loss)
    after = tasks.fixed_loss(fitted.model, task.batches, task.loss)
    assert after < 0.9 * before
    losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert fitted.chosen != "base"


@every_combination
def test_what_the_strategy_does_not_claim_stays_bit_for_bit(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    base = bits(tasks.load(target, folders[target]))
    fitted = run_fit(target, names, folders[target], tmp_path)
    assert fitted.chosen != "base"
    claimed = set(trainable(fitted.model))
    assert claimed
    shared = {value.data_ptr() for value in trainable(fitted.model).values()}  # tied weights have two names
    state = fitted.model.state_dict()
    kept = {_plain(name): value for name, value in state.items() if value.data_ptr() not in shared}
    kept = {name: value for name, value in kept.items() if name in base}
    if claimed.isdisjoint(base):  # an adapter: the base is whole beside it
        assert kept.keys() == base.keys()
    assert all(torch.equal(base[name], value) for name, value in kept.items())
    moved = [
        name for name, value in trainable(fitted.model).items() if not torch.equal(value, base.get(name, value * 0))
    ]
    assert moved


@pytest.mark.parametrize(
    "name", [n for n in plugins.names("strategy") if plugins.load("strategy", n).axis == "parameters"]
)
@pytest.mark.parametrize("fresh", [False, True], ids=["a cross-encoder", "a new head"])
def test_a_rerankers_head_learns_whatever_else_does(
    name: str, fresh: bool, folders: dict[Target, Path], tmp_path: Path
) -> None:
    strategy = plugins.load("strategy", name)
    if "rerank" not in strategy.targets:
        pytest.skip("not for rerankers")
    folder = folders["embedding" if fresh else "rerank"]
    wanted = {parameter: value.detach().clone() for parameter, value in head(load_reranker(folder, RUNTIME)).items()}
    assert wanted
    fitted = run_fit("rerank", (name,), folder, tmp_path)
    for parameter, value in bits(fitted.model).items():
        place = _plain(parameter).replace(".modules_to_save.default.", ".")
        if place in wanted and ".original_module." not in parameter:
            assert not torch.equal(value, wanted.pop(place)), parameter
    assert not wanted


def _plain(name: str) -> str:
    """The name that a weight had before PEFT wrapped its layer."""
    name = name.replace("base_model.model.", "", 1).replace(".base_layer.", ".")
    return name.replace(".original_module.", ".")


@pytest.fixture(scope="module")
def uncut(
    tiny_llm: Path, tiny_embedding: Path, tiny_cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Target, tuple[str, ...], Runtime], tuple[Fitted, dict[str, Tensor]]]:
    """A fit that was never killed, and its weights; made once for the tests that compare with it."""
    folders: dict[Target, Path] = {"embedding": tiny_embedding, "llm": tiny_llm, "rerank": tiny_cross_encoder}

    @cache
    def fitted(target: Target, names: tuple[str, ...], runtime: Runtime) -> tuple[Fitted, dict[str, Tensor]]:
        work = tmp_path_factory.mktemp("uncut")
        whole = run_fit(target, names, folders[target], work, runtime=runtime, checkpoint_seconds=30.0)
        return whole, bits(whole.model)

    return fitted


def assert_equal_fits(fitted: Fitted, whole: tuple[Fitted, dict[str, Tensor]], why: str) -> None:
    assert fitted.history == whole[0].history, why
    assert fitted.candidates == whole[0].candidates, why
    assert fitted.chosen == whole[0].chosen, why
    assert same(bits(fitted.model), whole[1]), why


Uncut = Callable[[Target, tuple[str, ...], Runtime], tuple[Fitted, dict[str, Tensor]]]


@every_combination
@pytest.mark.parametrize("where", ["a step", "a scoring"])
def test_killed_and_resumed_equals_never_killed(
    target: Target, names: tuple[str, ...], where: str, folders: dict[Target, Path], tmp_path: Path, uncut: Uncut
) -> None:
    scorings = len(uncut(target, names, RUNTIME)[0].candidates)
    at = random.randint(1, scorings if where == "a scoring" else STEPS)

    def kill(task: Task) -> Task:
        return killing(task, score_at=at) if where == "a scoring" else killing(task, loss_at=at)

    with pytest.raises(Killed):
        run_fit(target, names, folders[target], tmp_path, change=kill)
    resumed = run_fit(target, names, folders[target], tmp_path)
    assert_equal_fits(resumed, uncut(target, names, RUNTIME), f"killed at {where}, call {at}")


@every_strategy
def test_steps_that_were_tried_before_the_first_leave_no_trace(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    found = [
        run_fit(target, names, folders[target], tmp_path / str(trying), runtime=runtime, steps=FEWEST)
        for trying in (True, False)
        for runtime in [replace(RUNTIME, forecast=trying)]
    ]
    assert_equal_fits(found[0], (found[1], bits(found[1].model)), "two steps tried")
    further = sum(strategy.further_scorings(EVALUATIONS) for strategy in strategies_named(names))
    assert len(found[0].candidates) <= 1 + EVALUATIONS + further, "more scorings than a forecast counts"


@pytest.mark.parametrize(("target", "names"), [("embedding", ("full",)), ("llm", ("full",)), ("llm", ("lora",))])
def test_killed_and_resumed_in_mixed_precision(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path, uncut: Uncut
) -> None:
    runtime = Runtime(RUNTIME.device, torch.bfloat16, 1)
    at = random.randint(2, STEPS)
    with pytest.raises(Killed):
        run_fit(
            target, names, folders[target], tmp_path, change=lambda task: killing(task, loss_at=at), runtime=runtime
        )
    resumed = run_fit(target, names, folders[target], tmp_path, runtime=runtime)
    assert_equal_fits(resumed, uncut(target, names, runtime), f"killed at step {at}")


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: random.randrange(file.stat().st_size)])


def _flip(*files: Path) -> None:
    for file in files:
        data = bytearray(file.read_bytes())
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        file.write_bytes(data)


DAMAGES: dict[str, Callable[[list[Path]], None]] = {
    "truncated": lambda files: _truncate(files[-1]),
    "flipped": lambda files: _flip(files[-1]),
    "checksum lost": lambda files: files[-1].with_suffix(".sha256").unlink(),
    "checksum flipped": lambda files: _flip(files[-1].with_suffix(".sha256")),
    "both flipped": lambda files: _flip(*files),
}


@every_strategy
def test_a_damaged_checkpoint_is_passed_over(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path, uncut: Uncut
) -> None:
    with pytest.raises(Killed):
        run_fit(target, names, folders[target], tmp_path / "cut", change=lambda task: killing(task, loss_at=STEPS))
    for damage, harm in DAMAGES.items():
        work = tmp_path / damage
        shutil.copytree(tmp_path / "cut", work)
        files = sorted((work / WORK / "checkpoints").glob("*.safetensors"))
        assert [file.stem for file in files] == [f"step-{STEPS - 2:08d}", f"step-{STEPS - 1:08d}"]
        harm(files)
        said = io.StringIO()
        resumed = run_fit(target, names, folders[target], work, display=Progress(stream=said), checkpoint_seconds=30.0)
        assert f"{files[-1]} is damaged" in said.getvalue(), damage
        assert (f"going on from step {STEPS - 2}" in said.getvalue()) == (damage != "both flipped")
        assert_equal_fits(resumed, uncut(target, names, RUNTIME), damage)


@every_combination
def test_nothing_that_scores_below_the_base_is_returned(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    base = bits(tasks.load(target, folders[target]))
    scores = iter(range(0, -100, -1))
    fitted = run_fit(
        target, names, folders[target], tmp_path, change=lambda task: replace(task, score=lambda _: float(next(scores)))
    )
    assert fitted.chosen == "base"
    model = fitted.model
    for strategy in strategies_named(names):
        model = strategy.finish(model)
    assert same(bits(model), base)


@every_strategy
def test_an_equal_score_does_not_replace_the_base(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path
) -> None:
    fitted = run_fit(target, names, folders[target], tmp_path, change=lambda task: replace(task, score=lambda _: 0.5))
    assert fitted.chosen == "base"


class Rising:
    """Stands for the development score; every state that is scored is better than those before."""

    first_stage = 0.0

    def __init__(self, *_: Any) -> None:
        self.calls = 0

    def __len__(self) -> int:
        return 1

    def __call__(self, model: nn.Module) -> float:
        self.calls += 1
        return float(self.calls)


def run_stage(
    target: Target, names: tuple[str, ...], folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Fitted]:
    """A whole training stage; the outputs of the model in memory, before anything is merged, and the fit."""
    stage: Any = {"embedding": embedding_stage, "llm": llm_stage, "rerank": rerank_stage}[target]
    kept: list[tuple[Tensor, Fitted]] = []

    def watched(*args: Any) -> Fitted:
        fitted = fit(*args)
        kept.append((tasks.outputs(target, folder, fitted.model), fitted))
        return fitted

    monkeypatch.setattr(stage, "fit", watched)
    monkeypatch.setattr(stage, "DevScore", Rising)
    (out / WORK).mkdir(parents=True)
    common = {
        "strategies": specs_named(names),
        "batch_size": 4,
        "epochs": 4,
        "learning_rate": rate_of(target, names),
        "evaluations": 2,
    }
    last = (find_model(str(folder)), RUNTIME, tasks.job(out, 3))
    corpus: Any = SimpleNamespace(similar={})
    if target == "embedding":
        embedding_stage.build(EmbeddingConfig.model_validate(common), tasks.pairs(), [], corpus, *last)
    elif target == "rerank":
        alone = RerankConfig.model_validate({**common, "first_stage_share": 0})
        rerank_stage.build(alone, tasks.lists(), [], corpus, *last)
    else:
        rows = tasks.examples(tasks.chat_renderer(folder))
        llm_stage.build(LLMConfig.model_validate(common), rows, [{"prompt": "x"}], *last)
    return kept[0]


@every_combination
def test_saved_and_loaded_gives_the_same_outputs(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders[target]
    expected, fitted = run_stage(target, names, folder, tmp_path / "out", monkeypatch)
    outcome = read_outcome(tmp_path / "out", "key")
    assert outcome.record.chosen == fitted.chosen == fitted.candidates[-1].name
    assert outcome.tuned is not None
    loaded = tasks.LOADERS[target](folder, RUNTIME, outcome.tuned)
    if target == "llm":
        assert (outcome.tuned / "adapter_config.json").exists() == ("lora" in names)
    assert {file.suffix for file in outcome.tuned.rglob("*")} & {".bin", ".pt", ".pth", ".pkl"} == set()
    found = tasks.outputs(target, folder, loaded)
    base = tasks.outputs(target, folder, tasks.load(target, folder))
    assert not torch.allclose(expected, base, atol=1e-3)
    # merged into the weights, an adapter rounds otherwise: the farthest of 57,540 logits by 1e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_a_whole_tuned_language_model_brings_its_tokenizer(
    tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("llm", ("full",), tiny_llm, tmp_path / "out", monkeypatch)
    saved, base = load_tokenizer(tmp_path / "out" / "model"), load_tokenizer(tiny_llm)
    assert saved.get_vocab() == base.get_vocab()
    assert saved.chat_template == base.chat_template


@pytest.mark.parametrize(("target", "names"), [("embedding", ("full",)), ("embedding", ("lora",)), ("llm", ("lora",))])
def test_two_runs_of_a_stage_write_the_same_weights(
    target: Target, names: tuple[str, ...], folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        torch.manual_seed(random.randrange(2**31))
        run_stage(target, names, folders[target], tmp_path / name, monkeypatch)
        monkeypatch.undo()
    weights = [sorted((tmp_path / name / "model").rglob("*.safetensors")) for name in ("one", "two")]
    assert weights[0]
    for left, right in zip(*weights, strict=True):
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_mix_with_an_adapter_lies_on_the_line_between_the_merged_weights(
    target: Target, share: float, folders: dict[Target, Path], tmp_path: Path
) -> None:
    lora = strategies_named(("lora",))[0]

    def prepared() -> nn.Module:
        return lora.prepare(tasks.load(target, folders[target]), target)

    def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
        model = prepared()
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(state[name])
        return bits(lora.finish(model))

    fitted = run_fit(target, ("lora",), folders[target], tmp_path, checkpoint_seconds=30.0)
    tuned = {name: value.detach().clone() for name, value in trainable(fitted.model).items()}
    fresh = {name: value.detach().clone() for name, value in trainable(prepared()).items()}
    start = {name: fresh[name] if ".lora_A." not in name else value for name, value in tuned.items()}
    base, whole = bits(tasks.load(target, folders[target])), merged(tuned)
    mixed = merged(lora.mix(start, tuned, share))
    assert not same(whole, base)
    assert same(merged(start), base)
    for name, value in mixed.items():
        expected = base[name] + share * (whole[name] - base[name])
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
