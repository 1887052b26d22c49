"""Every objective of the reranker agrees with sentence-transformers' own loss, in value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import Tensor

from raglift import plugins
from raglift.models.reranker import load_reranker
from raglift.training.lists import ListBatches, Lists, lists_of, scores_of
from tests import tasks
from tests.tasks import RUNTIME

ROWS = [replace(pair, negatives=pair.negatives[: 1 + row % 2]) for row, pair in enumerate(tasks.lists()[:4])]
"""Lists of two and of three passages."""
QUERIES = [pair.query for pair in ROWS]
TEXTS = [[pair.passage, *pair.negatives] for pair in ROWS]
LABELS = [torch.tensor([1.0, *(0.0 for _ in pair.negatives)]) for pair in ROWS]


def flat(model: CrossEncoder, loss: Any) -> Tensor:
    queries = [query for query, texts in zip(QUERIES, TEXTS, strict=True) for _ in texts]
    return Tensor(loss([queries, [text for texts in TEXTS for text in texts]], torch.cat(LABELS)))


def in_lists(model: CrossEncoder, loss: Any) -> Tensor:
    return Tensor(loss([QUERIES, TEXTS], LABELS))


def contrastive(model: CrossEncoder, loss: Any) -> Tensor:
    """Of equally long lists, by the loss that has one right passage a query."""
    each = []
    for query, texts in zip(QUERIES, TEXTS, strict=True):
        scores = Tensor(model(model.preprocess([(query, text) for text in texts]))["scores"]).view(1, -1)
        each.append(torch.nn.functional.cross_entropy(scores, torch.zeros(1, dtype=torch.long)))
    return torch.stack(each).mean()


REFERENCES: dict[str, tuple[str, dict[str, Any], Callable[[CrossEncoder], Any], Callable[..., Tensor]]] = {
    "binary cross-entropy": (
        "binary_cross_entropy",
        {"positive_weight": 2.5},
        lambda model: losses.BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(2.5)),
        flat,
    ),
    "lambda loss": ("lambda_loss", {}, losses.LambdaLoss, in_lists),
    "lambda rank": (
        "lambda_loss",
        {"weighting": "lambda_rank", "sigma": 2.0},
        lambda model: losses.LambdaLoss(model, weighting_scheme=losses.LambdaRankScheme(), sigma=2.0),
        in_lists,
    ),
    "contrastive": ("localized_contrastive", {}, lambda model: None, contrastive),
}


def gradients(model: CrossEncoder, value: Tensor) -> list[Tensor]:
    model.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    return [value.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", REFERENCES)
def test_it_agrees_with_the_library(name: str, tiny_cross_encoder: Path) -> None:
    plugin, settings, build, call = REFERENCES[name]
    model = load_reranker(tiny_cross_encoder, RUNTIME).eval()
    expected = gradients(model, call(model, build(model)))
    batch = lists_of(model, list(zip(QUERIES, TEXTS, [labels.tolist() for labels in LABELS], strict=True)))
    objective = plugins.load("objective", plugin)(**settings)
    found = gradients(model, objective.build(model)(model, batch))
    assert len(found) == len(expected) > 10
    assert any(part.abs().max() > 1e-3 for part in expected[1:])
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    "name", [n for n in plugins.names("objective") if plugins.load("objective", n).target == "rerank"]
)
def test_two_batches_by_their_weights_are_one(name: str, tiny_cross_encoder: Path) -> None:
    """What makes gradient accumulation a larger batch."""
    model = load_reranker(tiny_cross_encoder, RUNTIME).eval()
    objective = plugins.load("objective", name)()
    loss = objective.build(model)
    rows = list(zip(QUERIES, TEXTS, [labels.tolist() for labels in LABELS], strict=True))
    whole, *parts = (lists_of(model, found) for found in (rows, rows[:1], rows[1:]))
    weights = [objective.weight(part) for part in parts]
    assert weights[0] > 0
    assert weights[0] != weights[1]
    assert sum(weights) == objective.weight(whole)
    summed = sum(w * float(loss(model, part).detach()) for w, part in zip(weights, parts, strict=True))
    # A list's scores are padded otherwise in another batch; lambda_loss weighs by ranks within the list alone.
    assert summed / sum(weights) == pytest.approx(float(loss(model, whole).detach()), rel=1e-4)


def test_several_right_passages_share_the_probability(tiny_cross_encoder: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME).eval()
    objective = plugins.load("objective", "localized_contrastive")()
    batch = lists_of(model, [(QUERIES[0], ["a", "b", "c"], [1.0, 1.0, 0.0])])
    at = objective.compare(torch.tensor([2.0, 2.0, -50.0]), batch)
    assert float(at) == pytest.approx(float(torch.tensor(2.0).log()))
    assert float(objective.compare(torch.tensor([2.0, 1.0, -50.0]), batch)) > float(at)


def test_lists_of_different_length_in_one_batch(tiny_cross_encoder: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME).eval()
    batches = ListBatches(ROWS, model, 3, seed=0)
    assert len(batches) == 2
    seen: list[Lists] = [batches.batch(epoch, index) for epoch in range(2) for index in range(2)]
    assert sum(len(batch.known) for batch in seen) == 2 * len(ROWS)
    for batch in seen:
        assert torch.equal(batch.table(batch.labels)[:, 0], torch.ones(len(batch.known)))
        assert batch.table(batch.labels).sum() == len(batch.known)
        assert torch.equal(batch.table(scores_of(model, batch))[batch.known], scores_of(model, batch))
    again = ListBatches(ROWS, model, 3, seed=0).batch(1, 1)
    assert torch.equal(again.features["input_ids"], seen[3].features["input_ids"])
    other = [ListBatches(ROWS, model, 3, seed=seed).batch(0, 0).features["input_ids"] for seed in range(6)]
    assert any(not (ids.shape == other[0].shape and torch.equal(ids, other[0])) for ids in other[1:])
