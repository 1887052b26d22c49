"""Small fixed training tasks for the tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.encoder import features, load_encoder
from raglift.models.flattened import flatten_inputs
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.padding_free import enable
from raglift.models.quick_dropout import quicken_dropout
from raglift.models.reranker import load_reranker
from raglift.progress import Progress
from raglift.records import Target
from raglift.synthesis.asking import Asking
from raglift.training.examples import Example, ExampleBatches
from raglift.training.lists import ListBatches
from raglift.training.loop import Task
from raglift.training.pairs import Pair, PairBatches
from raglift.training.study import Batches
from tests.tiny import QUESTIONS, SENTENCES

LOADERS: dict[Target, Callable[..., nn.Module]] = {
    "embedding": load_encoder,
    "llm": load_causal_lm,
    "rerank": load_reranker,
}
RUNTIME = Runtime(torch.device("cpu"), torch.float32, 1)
QUIET = Progress(quiet=True)
BATCH = 4


def job(out: Path, seed: int = 0, display: Progress = QUIET) -> Job:
    """What a stage or a training is given."""
    return Job(out, seed, display)


def asking() -> Asking:
    """Every question kind that there is, in the usual style."""
    kinds = {name: plugins.load("question kind", name) for name in plugins.names("question kind")}
    return Asking(kinds, plugins.load("prompt style", SynthesisConfig().style))


def pairs() -> list[Pair]:
    """Eight questions and their sentences."""
    return [Pair(question, SENTENCES[row], f"c{row}") for row, (question, _) in enumerate(QUESTIONS)]


def lists() -> list[Pair]:
    """The same questions with two wrong sentences each."""
    rows = pairs()
    wrong = [[rows[(row + step) % len(rows)] for step in (1, 3)] for row in range(len(rows))]
    return [
        replace(pair, negatives=tuple(p.passage for p in found), negative_ids=tuple(p.chunk_id for p in found))
        for pair, found in zip(rows, wrong, strict=True)
    ]


def examples(render: Callable[[list[dict[str, str]]], str]) -> list[Example]:
    """The same questions with their sentence as the passage, and the answers."""
    prompt = plugins.load("prompt", "grounded")
    return [
        Example(render(prompt.messages(question, [SENTENCES[row]])), answer)
        for row, (question, answer) in enumerate(QUESTIONS)
    ]


def chat_renderer(folder: Path) -> Callable[[list[dict[str, str]]], str]:
    """The model's chat template, up to the assistant's turn."""
    tokenizer = load_tokenizer(folder)
    return lambda messages: str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def load(target: Target, folder: Path, runtime: Runtime = RUNTIME) -> nn.Module:
    """A fresh copy of the model in `folder`, as a training begins with it."""
    model = LOADERS[target](folder, runtime)
    if target == "llm":
        assert enable(model)
    if target == "embedding":
        quicken_dropout(model)
        flatten_inputs(model)
    return model


def task(target: Target, folder: Path, model: nn.Module) -> Task:
    """Two batches of four an epoch; the score is the loss of the first batch in evaluation mode, negated."""
    batches: Batches
    if target == "embedding":
        batches = PairBatches(pairs(), {}, model, BATCH, seed=1)  # type: ignore[arg-type]
        objective = plugins.load("objective", "multiple_negatives")()
    elif target == "rerank":
        batches = ListBatches(lists(), model, BATCH, seed=1)  # type: ignore[arg-type]
        objective = plugins.load("objective", "binary_cross_entropy")()
    else:
        rows = examples(chat_renderer(folder))
        batches = ExampleBatches(rows, load_tokenizer(folder), RUNTIME.device, BATCH, seed=1, end_to_end=True)
        objective = plugins.load("objective", "answer_only")()
    loss: Callable[[nn.Module, Any], Tensor] = objective.build(model)
    return Task(target, batches, loss, lambda scored: -fixed_loss(scored, batches, loss), objective.weight)


def fixed_loss(model: nn.Module, batches: Batches, loss: Callable[[nn.Module, Any], Tensor]) -> float:
    """The loss of the first batch, without dropout."""
    model.eval()
    with torch.no_grad():
        return float(loss(model, batches.batch(0, 0)))


def outputs(target: Target, folder: Path, model: nn.Module) -> Tensor:
    """Vectors of the questions, scores of them with their sentences, or the logits after a prompt."""
    model.eval()
    with torch.no_grad():
        if target == "embedding":
            texts = [question for question, _ in QUESTIONS]
            return Tensor(model(features(model, texts, "query"))["sentence_embedding"])  # type: ignore[arg-type]
        if target == "rerank":
            asked = [(pair.query, pair.passage) for pair in pairs()]
            return Tensor(model(model.preprocess(asked))["scores"])  # type: ignore[operator]
        ids = load_tokenizer(folder)(examples(chat_renderer(folder))[0].prompt, add_special_tokens=False)["input_ids"]
        return Tensor(model(torch.tensor([ids])).logits)


def bits(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight and buffer."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def read_json(file: Path) -> Any:
    """What a stage wrote."""
    return json.loads(file.read_text("utf-8"))
