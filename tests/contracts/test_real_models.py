"""The contracts on the two models that are installed beside the package, over the strategies that differ most.

Not `full` and `vital_parameters` on the language model: a checkpoint of either takes two gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raglift.models.encoder import load_encoder
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Target
from raglift.training.examples import Example, ExampleBatches
from raglift.training.loop import Fitted, Task, fit
from raglift.training.parameters import trainable
from raglift.training.strategy import Strategy
from tests import tasks
from tests.fits import Killed, killing, settings_of, strategies_named
from tests.tasks import RUNTIME, bits, same
from tests.test_contracts import _plain
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow

MODELS: dict[Target, str] = {"embedding": "all-MiniLM-L6-v2", "llm": "SmolLM2-135M-Instruct"}
CASES: list[tuple[Target, str]] = [
    ("embedding", "full"),
    ("embedding", "lora"),
    ("embedding", "top_layers"),
    ("embedding", "vital_parameters"),
    ("embedding", "bottleneck_adapter"),
    ("embedding", "embedding_head"),
    ("llm", "lora"),
    ("llm", "top_layers"),
    ("llm", "bias_only"),
    ("llm", "bottleneck_adapter"),
]
STEPS = 3
RANDOM = SystemRandom()
"""Not the module's own, which every training seeds."""


def short(task: Task, folder: Path) -> Task:
    """The task, over questions alone for the language model: no passages, so that a step takes a second."""
    if task.target != "llm":
        return task
    rows = [Example(f"{question}\n", answer) for question, answer in QUESTIONS[:4]]
    batches = ExampleBatches(rows, load_tokenizer(folder), RUNTIME.device, 2, 1)
    return replace(task, batches=batches, score=lambda model: -tasks.fixed_loss(model, batches, task.loss))


def said(target: Target, folder: Path, model: nn.Module) -> Tensor:
    """Vectors of eight questions, or the logits after a short one."""
    if target == "embedding":
        return tasks.outputs(target, folder, model)
    ids = torch.tensor([load_tokenizer(folder)(QUESTIONS[0][0])["input_ids"]])
    with torch.no_grad():
        return Tensor(model.eval()(ids).logits)


def saved_and_loaded(
    target: Target, strategy: Strategy, folder: Path, model: nn.Module, out: Path
) -> tuple[nn.Module, Any]:
    """What is loaded of what the strategy that trained it saves, as a stage does it, and the finished model."""
    apart = strategy.save(model, out)
    finished: Any = strategy.finish(model)
    if not apart:
        finished.save_pretrained(str(out))
    load: Callable[..., nn.Module] = load_encoder if target == "embedding" else load_causal_lm
    return load(folder, RUNTIME, out), finished


@pytest.mark.parametrize(("target", "name"), CASES, ids=lambda value: value)
def test_every_law_holds(target: Target, name: str, tmp_path: Path) -> None:
    folder = find_model(MODELS[target]).path
    (strategy,) = strategies_named((name,))
    rate = 5 * (strategy.learning_rate(target) or 0.0)
    settings = settings_of(target, steps=STEPS, evaluations=1, learning_rate=rate)

    def fitted(
        work: Path, by: Strategy, change: Callable[[Task], Task] = lambda task: task, seconds: float = 30.0
    ) -> Fitted:
        model = tasks.load(target, folder)
        task = change(short(tasks.task(target, folder, model), folder))
        return fit(model, task, [by], settings, replace(RUNTIME, checkpoint_seconds=seconds), tasks.job(work, 5))

    base = tasks.load(target, folder)
    start, before = bits(base), said(target, folder, base)
    task = short(tasks.task(target, folder, base), folder)
    loss = tasks.fixed_loss(base, task.batches, task.loss)
    whole = fitted(tmp_path / "whole", strategy)
    task = short(tasks.task(target, folder, whole.model), folder)
    assert tasks.fixed_loss(whole.model, task.batches, task.loss) < 0.95 * loss
    assert whole.chosen != "base"

    tuned = bits(whole.model)
    claimed = {value.data_ptr() for value in trainable(whole.model).values()}
    kept = {_plain(n): value for n, value in whole.model.state_dict().items() if value.data_ptr() not in claimed}
    kept = {n: value for n, value in kept.items() if n in start}
    assert all(torch.equal(start[n], value) for n, value in kept.items())
    assert kept or name == "full"

    at = RANDOM.randint(2, STEPS)
    with pytest.raises(Killed):
        fitted(tmp_path / "cut", *strategies_named((name,)), lambda task: killing(task, loss_at=at), seconds=0.0)
    resumed = fitted(tmp_path / "cut", *strategies_named((name,)))
    assert resumed.history == whole.history, f"killed at step {at}"
    assert same(bits(resumed.model), tuned), f"killed at step {at}"

    expected = said(target, folder, whole.model)
    assert not torch.allclose(expected, before, atol=1e-3)
    loaded, finished = saved_and_loaded(target, strategy, folder, whole.model, tmp_path / "saved")
    near: dict[str, float] = {"rtol": 0, "atol": 1e-5 if target == "embedding" else 2e-4}
    torch.testing.assert_close(said(target, folder, loaded), expected, **near)
    torch.testing.assert_close(said(target, folder, finished), expected, **near)
