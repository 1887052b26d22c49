"""The loop's loss curves beside those of transformers' and sentence-transformers' own trainers, on the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainingArguments

from raglift.models.llm import load_causal_lm
from raglift.strategies.full import Full
from raglift.strategies.lora import Lora
from raglift.training.examples import ExampleBatches
from raglift.training.loop import Task, fit
from raglift.training.parameters import trainable
from raglift.training.schedule import Settings
from raglift.training.strategy import Strategy
from tests import tasks
from tests.tasks import RUNTIME

STEPS = 12
SETTINGS = Settings(STEPS, 1e-3, weight_decay=0.1, evaluations=STEPS)
ARGUMENTS: dict[str, Any] = {
    "max_steps": STEPS,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "max_grad_norm": SETTINGS.clip,
}


def ours(model: nn.Module, task: Task, strategy: Strategy, work: Path) -> tuple[list[float], nn.Module]:
    """The loss of every step, and the trained model after the last one."""
    rising = iter(range(STEPS + 1))
    task = replace(task, score=lambda _: float(next(rising)))
    fitted = fit(model, task, [strategy], SETTINGS, RUNTIME, tasks.job(work, seed=7))
    return [entry["loss"] for entry in fitted.history if "loss" in entry], fitted.model


def optimizers(model: nn.Module) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW on what trains, fused as it is by a trainer's default, and the loop's schedule."""
    optimizer = torch.optim.AdamW(
        trainable(model).values(), lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay, fused=True
    )
    return optimizer, LambdaLR(optimizer, SETTINGS.rate)


def theirs(trainer: Trainer) -> list[float]:
    """The loss of every step."""
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def assert_equal_training(
    found: tuple[list[float], nn.Module], expected: tuple[list[float], nn.Module], rtol: float
) -> None:
    assert len(found[0]) == len(expected[0]) == STEPS
    assert found[0] == pytest.approx(expected[0], rel=rtol)
    assert found[0][-1] < 0.95 * found[0][0]
    for name, value in trainable(expected[1]).items():
        if name.endswith("key.bias"):
            continue  # a softmax does not feel it: its gradient is rounding alone, which Adam scales up to the rate
        torch.testing.assert_close(trainable(found[1])[name], value, rtol=1e-3, atol=1e-4)


class Batches(IterableDataset[dict[str, Tensor]]):
    """A task's batches in the loop's order."""

    def __init__(self, task: Task) -> None:
        self._batches = task.batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(STEPS):
            yield self._batches.batch(*divmod(step, len(self._batches)))


def test_lora_by_peft_and_transformers_trainer_gives_the_same_loss_curve(tiny_llm: Path, tmp_path: Path) -> None:
    model = tasks.load("llm", tiny_llm)
    found = ours(model, tasks.task("llm", tiny_llm, model), Lora(rank=4, alpha=8), tmp_path / "ours")

    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    reference = get_peft_model(load_causal_lm(tiny_llm, RUNTIME), config)
    arguments = TrainingArguments(str(tmp_path / "theirs"), per_device_train_batch_size=1, **ARGUMENTS)
    task = tasks.task("llm", tiny_llm, reference)
    assert isinstance(task.batches, ExampleBatches)
    task.batches.end_to_end = False  # the same examples as padded rows, with every logit
    data = Batches(task)
    trainer = Trainer(reference, arguments, lambda rows: rows[0], train_dataset=data, optimizers=optimizers(reference))
    assert_equal_training(found, (theirs(trainer), reference), rtol=1e-4)


def without_dropout(folder: Path) -> SentenceTransformer:
    model = tasks.load("embedding", folder)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert isinstance(model, SentenceTransformer)
    return model


def test_full_by_sentence_transformers_trainer_gives_the_same_loss_curve(tiny_embedding: Path, tmp_path: Path) -> None:
    model = without_dropout(tiny_embedding)
    task = tasks.task("embedding", tiny_embedding, model)
    found = ours(model, task, Full(), tmp_path / "ours")

    reference = without_dropout(tiny_embedding)
    packed: Any = task.batches
    places = [divmod(step, len(task.batches)) for step in range(STEPS)]
    rows = [tasks.pairs()[row] for epoch, index in places for row in packed._packed(epoch)[index]]
    data = Dataset.from_dict({"anchor": [row.query for row in rows], "positive": [row.passage for row in rows]})
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "theirs"),
        per_device_train_batch_size=tasks.BATCH,
        batch_sampler=lambda rows, **settings: DefaultBatchSampler(range(len(rows)), **settings),
        **ARGUMENTS,
    )
    loss = MultipleNegativesRankingLoss(
        reference, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )
    trainer = SentenceTransformerTrainer(
        reference, arguments, train_dataset=data, loss=loss, optimizers=optimizers(reference)
    )
    assert_equal_training(found, (theirs(trainer), reference), rtol=1e-4)
