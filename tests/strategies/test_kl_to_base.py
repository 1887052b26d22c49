"""The divergence from the base's outputs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raglift.models.encoder import features
from raglift.models.flattened import part_of
from raglift.records import Target
from raglift.strategies.kl_to_base import KLToBase
from raglift.training.distributions import divergence, ranking, ranking_divergence, token_divergence
from raglift.training.examples import ExampleBatches
from raglift.training.forwards import Forwards
from raglift.training.lists import lists_of
from raglift.training.loop import Task
from raglift.training.objectives.answer_only import IGNORED
from raglift.training.parameters import trainable
from raglift.training.study import Study
from tests import tasks
from tests.fits import strategies_named
from tests.tasks import QUIET


def begun(target: Target, folder: Path, owner: str, strength: float = 1.0) -> tuple[nn.Module, Any, KLToBase]:
    """A model in training mode with dropout, its task, and the strategy before a step."""
    model = tasks.load(target, folder)
    task = tasks.task(target, folder, model)
    model = strategies_named((owner,))[0].prepare(model, target)
    base = {name: value.detach().clone() for name, value in trainable(model).items()}
    strategy = KLToBase(strength=strength)
    strategy.begin(model, Study(target, base, task.batches, task.loss, nullcontext, 0, QUIET))
    return model.train(), task, strategy


def move(model: nn.Module) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for value in trainable(model).values():
            value.add_(0.05 * torch.randn_like(value))


def count_forwards(model: nn.Module, calls: list[bool]) -> None:
    model.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))


def term(strategy: KLToBase, model: nn.Module, batch: Any) -> Tensor:
    return strategy.losses(model, batch)["divergence from the base"]


@pytest.mark.parametrize("target", ["embedding", "llm", "rerank"])
@pytest.mark.parametrize("owner", ["full", "lora"])
def test_it_is_zero_at_the_start_and_not_after(target: Target, owner: str, folders: dict[Target, Path]) -> None:
    model, task, strategy = begun(target, folders[target], owner)
    batch = task.batches.batch(0, 0)
    calls: list[bool] = []
    count_forwards(model, calls)
    for step in range(2):
        strategy.before_step(model, step, 2)
        task.loss(model, batch)
        computed = calls.count(True)
        value = term(strategy, model, batch)
        assert calls.count(True) == computed, "the objective's own outputs serve"
        assert float(value.detach()) == pytest.approx(0, abs=1e-6) if step == 0 else float(value.detach()) > 1e-3
        strategy.after_step(model)
        move(model)
    assert computed == (4 if target == "embedding" else 2)
    calls.clear()
    assert strategy._forwards is None


def padded(task: Task) -> dict[str, Tensor]:
    """A batch in rows, each of which can be looked at alone."""
    assert isinstance(task.batches, ExampleBatches)
    task.batches.end_to_end = False
    return task.batches.batch(0, 0)


def test_a_divergence_computed_by_hand() -> None:
    base = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    tuned = torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    by_hand = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2
    assert float(divergence(base, tuned)) == pytest.approx(by_hand, rel=1e-6)
    assert by_hand == pytest.approx(0.0719205, abs=1e-6)
    queries, passages = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    odds = math.exp(20 * 1.0), math.exp(20 * 0.6)
    assert ranking(queries, passages)[0].exp().tolist() == pytest.approx([odds[0] / sum(odds), odds[1] / sum(odds)])


def test_the_tokens_divergence_against_whole_logits(tiny_llm: Path) -> None:
    model, task, strategy = begun("llm", tiny_llm, "full", strength=0.5)
    batch = padded(task)
    reference = tasks.load("llm", tiny_llm).train()
    move(model)
    strategy.before_step(model, 0, 1)
    task.loss(model, batch)
    value = term(strategy, model, batch)
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    summed, learned = 0.0, 0
    for row in range(len(batch["labels"])):
        given = {key: batch[key][row : row + 1] for key in ("input_ids", "attention_mask")}
        base, tuned = (m(**given, position_ids=positions[row : row + 1]).logits[0] for m in (reference, model))
        for place in range(1, batch["labels"].shape[1]):
            if batch["labels"][row, place] != IGNORED:
                left, right = base[place - 1].log_softmax(0), tuned[place - 1].log_softmax(0)
                summed += float((left.exp() * (left - right)).sum().detach())
                learned += 1
    assert learned == task.weight(batch)
    assert float(value.detach()) == pytest.approx(0.5 * summed / learned, rel=1e-4)


def test_the_rankings_divergence_against_a_second_model(tiny_embedding: Path) -> None:
    model, task, strategy = begun("embedding", tiny_embedding, "full", strength=0.5)
    reference = tasks.load("embedding", tiny_embedding)
    batch = task.batches.batch(0, 0)
    move(model)
    for each in (model, reference):
        each.eval()  # no dropout
    strategy.before_step(model, 0, 1)
    task.loss(model, batch)
    value = term(strategy, model, batch)
    with torch.no_grad():
        base, tuned = (
            torch.log_softmax(20 * vectors[0] @ vectors[1].T, dim=1)
            for vectors in ([m(dict(column))["sentence_embedding"] for column in batch] for m in (reference, model))
        )
        by_hand = float((base.exp() * (base - tuned)).sum(1).mean())
    assert float(value.detach()) == pytest.approx(0.5 * by_hand, rel=1e-4)


@pytest.mark.parametrize("target", ["embedding", "llm", "rerank"])
def test_what_the_objective_did_not_compute_whole_is_computed(target: Target, folders: dict[Target, Path]) -> None:
    """Without a call, after a call too many, or after calls that hold a part of the batch: the same value."""
    model, task, strategy = begun(target, folders[target], "full")
    batch = task.batches.batch(0, 0)
    move(model)
    model.eval()
    strategy.before_step(model, 0, 1)
    task.loss(model, batch)
    expected = float(term(strategy, model, batch).detach())

    def part() -> None:
        if target == "llm":
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], logits_to_keep=1)
        else:
            whole = batch[0] if target == "embedding" else batch.features
            model(part_of(whole, slice(0, 2)))

    def twice() -> None:
        task.loss(model, batch)
        task.loss(model, batch)

    def other() -> None:
        task.loss(model, task.batches.batch(0, 1))

    for before in (lambda: None, part, twice, other):
        before()
        value = term(strategy, model, batch)
        assert float(value.detach()) == pytest.approx(expected, rel=1e-4), before
        value.backward()  # type: ignore[no-untyped-call]
    strategy.after_step(model)
    assert float(term(strategy, model, batch).detach()) == pytest.approx(expected, rel=1e-4), "outside of a step"


def test_logits_may_be_kept_by_place(tiny_llm: Path) -> None:
    model, task, strategy = begun("llm", tiny_llm, "full")
    batch = padded(task)
    move(model)
    base = strategy._base
    expected = token_divergence(model, base, batch, [])
    given = {key: batch[key] for key in ("input_ids", "attention_mask")}
    given["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    places = ((batch["labels"] != IGNORED).any(0).nonzero()[:, 0] - 1).flip(0)
    forwards = Forwards(model).open()
    model(**given, logits_to_keep=places)
    calls = forwards.take()
    forwards.close()
    torch.testing.assert_close(token_divergence(model, base, batch, calls), expected, rtol=1e-4, atol=1e-6)


def test_merged_passages_serve_too(tiny_embedding: Path) -> None:
    """Losses with hard negatives encode several columns of passages in one call."""
    model, task, strategy = begun("embedding", tiny_embedding, "full")
    asked, said = (list(texts) for texts in task.batches.batch(0, 0).texts)
    queries, passages = features(model, asked, "query"), features(model, said, "passage")  # type: ignore[arg-type]
    batch = [queries, passages, dict(passages)]
    move(model)
    model.eval()
    expected = ranking_divergence(model, strategy._base, batch, [])
    strategy.before_step(model, 0, 1)
    model(queries)
    model({key: torch.cat([v, v]) if isinstance(v, Tensor) and v.ndim > 1 else v for key, v in passages.items()})
    calls: list[bool] = []
    count_forwards(model, calls)
    torch.testing.assert_close(term(strategy, model, batch), expected, rtol=1e-4, atol=1e-6)
    assert True not in calls


def test_the_divergence_of_lists_against_a_second_model(tiny_cross_encoder: Path) -> None:
    model, task, strategy = begun("rerank", tiny_cross_encoder, "full", strength=0.5)
    reference = tasks.load("rerank", tiny_cross_encoder)
    rows: list[Any] = [
        ("a ship", ["a blue book", "tall oaks"], [1.0, 0.0]),
        ("snow", ["glass", "May", "oaks"], [0.0] * 3),
    ]
    batch = lists_of(model, rows)  # type: ignore[arg-type]
    move(model)
    for each in (model, reference):
        each.eval()  # no dropout
    strategy.before_step(model, 0, 1)
    task.loss(model, batch)
    value = term(strategy, model, batch)
    summed = 0.0
    with torch.no_grad():
        for question, texts, _ in rows:
            base, tuned = (
                torch.log_softmax(m(m.preprocess([(question, text) for text in texts]))["scores"].view(-1), dim=0)  # type: ignore[operator]
                for m in (reference, model)
            )
            summed += float((base.exp() * (base - tuned)).sum())
    assert summed > 1e-3
    assert float(value.detach()) == pytest.approx(0.5 * summed / 2, rel=1e-4)


@pytest.mark.parametrize("target", ["embedding", "llm"])
def test_gradients_reach_what_learns_and_nothing_stays(target: Target, folders: dict[Target, Path]) -> None:
    model, task, strategy = begun(target, folders[target], "lora")
    move(model)
    hooks = len(model._forward_hooks), len(model._forward_pre_hooks)
    strategy.before_step(model, 0, 1)
    batch = task.batches.batch(0, 0)
    loss = task.loss(model, batch)
    after = torch.get_rng_state()
    (loss + term(strategy, model, batch)).backward()
    assert torch.equal(torch.get_rng_state(), after), "the base's dropout is drawn beside the training's"
    assert all(value.grad is None for name, value in model.named_parameters() if "lora" not in name)
    strategy.after_step(model)
    assert (len(model._forward_hooks), len(model._forward_pre_hooks)) == hooks
