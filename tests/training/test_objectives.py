"""The losses agree with other people's implementations of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from raglift import plugins
from raglift.models.encoder import load_encoder
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.training.examples import Example, ExampleBatches
from raglift.training.objectives.answer_only import IGNORED
from raglift.training.pairs import PairBatches
from tests import tasks
from tests.tasks import RUNTIME


@pytest.mark.parametrize("size", [1, 3, 8])
def test_answer_only_is_the_mean_of_transformers_own_loss_over_the_answer_tokens(tiny_llm: Path, size: int) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    rows = tasks.examples(tasks.chat_renderer(tiny_llm))
    batches = ExampleBatches(rows, load_tokenizer(tiny_llm), RUNTIME.device, size, seed=0)
    compute = plugins.load("objective", "answer_only")().build(model)
    for index in range(len(batches)):
        batch = batches.batch(0, index)
        total, count = 0.0, 0
        for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            real = mask.bool()  # each row alone, without padding, as transformers would be given it
            tokens = int((labels != IGNORED).sum())
            total += float(model(input_ids=ids[real][None], labels=labels[real][None]).loss.detach()) * tokens
            count += tokens
        assert compute(model, batch).item() == pytest.approx(total / count, abs=1e-5)


def test_answer_only_has_the_gradient_of_the_whole_computation(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    rows = tasks.examples(tasks.chat_renderer(tiny_llm))
    batch = ExampleBatches(rows, load_tokenizer(tiny_llm), RUNTIME.device, 4, seed=0).batch(0, 0)
    plugins.load("objective", "answer_only")().build(model)(model, batch).backward()
    weight = dict(model.named_parameters())["model.embed_tokens.weight"]
    assert weight.grad is not None
    found = weight.grad.clone()
    model.zero_grad()
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    whole = model(**batch, position_ids=positions)
    whole.loss.backward()
    torch.testing.assert_close(found, weight.grad, rtol=1e-4, atol=1e-6)


def test_answer_only_takes_an_empty_prompt(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    rows = [Example("", "the red kite hunts")]
    batch = ExampleBatches(rows, load_tokenizer(tiny_llm), RUNTIME.device, 1, seed=0).batch(0, 0)
    expected = float(model(**batch).loss.detach())
    assert plugins.load("objective", "answer_only")().build(model)(model, batch).item() == pytest.approx(
        expected, abs=1e-5
    )


def test_multiple_negatives_is_the_symmetric_contrast_written_by_hand(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME).eval()
    batch = PairBatches(tasks.pairs(), {}, model, 8, seed=0).batch(0, 0)
    loss = plugins.load("objective", "multiple_negatives")().build(model)(model, batch).item()
    with torch.no_grad():
        columns = [model(dict(column))["sentence_embedding"].double().numpy() for column in batch]
    queries, passages = (column / np.linalg.norm(column, axis=1, keepdims=True) for column in columns)
    logits = 20 * queries @ passages.T
    forward = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    backward = np.log(np.exp(logits).sum(0)) - np.diag(logits)
    assert loss == pytest.approx(float((forward + backward).mean() / 2), abs=1e-4)


def test_multiple_negatives_agrees_with_sentence_transformers_in_value_and_gradient(tiny_embedding: Path) -> None:
    found = []
    for own in (True, False):
        model = load_encoder(tiny_embedding, RUNTIME).eval()
        batch = PairBatches(tasks.pairs(), {}, model, 4, seed=0).batch(0, 0)
        if own:
            loss = plugins.load("objective", "multiple_negatives")().build(model)(model, batch)
        else:
            reference = MultipleNegativesRankingLoss(
                model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
            )
            loss = reference(batch, torch.zeros(0))
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([loss.detach(), *gradients])
    assert len(found[0]) > 10
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_hard_negatives_compete_for_every_query_and_for_no_passage(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME).eval()
    rows = tasks.pairs()
    mined = [replace(row, negatives=(rows[7 - n].passage,) * (n < 2), negative_ids=(f"c{7 - n}",) * (n < 2))
             for n, row in enumerate(rows[:4])]  # fmt: skip
    batch = PairBatches(mined, {}, model, 4, seed=0).batch(0, 0)
    assert len(batch[2]["input_ids"]) == 2  # fewer than queries
    loss = plugins.load("objective", "multiple_negatives")().build(model)(model, batch).item()
    with torch.no_grad():
        columns = [model(dict(column))["sentence_embedding"].double().numpy() for column in batch]
    queries, passages, hard = (column / np.linalg.norm(column, axis=1, keepdims=True) for column in columns)
    logits = 20 * queries @ np.concatenate([passages, hard]).T
    own = np.diag(logits)
    forward = np.log(np.exp(logits).sum(1)) - own
    backward = np.log(np.exp(logits[:, :4]).sum(0)) - own
    assert loss == pytest.approx(float((forward + backward).mean() / 2), abs=1e-4)
