"""Every embedding objective agrees with sentence-transformers' own loss, in value and gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    DistillKLDivLoss,
    GISTEmbedLoss,
    MarginMSELoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sentence_transformers.util import pairwise_cos_sim
from torch import Tensor, nn

from raglift import plugins
from raglift.errors import UserError
from raglift.models.encoder import load_encoder
from raglift.models.find import find_model
from raglift.training.columns import Columns, owners
from raglift.training.pairs import Pair, PairBatches
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import build_embedding, word_tokenizer

Loss = Callable[[nn.Module, Any], Tensor]
BOTH = ("query_to_doc", "doc_to_query")
ALL = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")


def with_negatives(count: int = 1, full: bool = True) -> list[Pair]:
    """Eight pairs, the first four (or three of these, if not `full`) with `count` of the last four passages as their
    hard negatives, scored by an arbitrary teacher."""
    rows = tasks.pairs()
    made = []
    for row, pair in enumerate(rows[:4]):
        wrong = [4 + (row + n) % 4 for n in range(count if full or row % 2 else count - 1)]
        made.append(
            replace(
                pair,
                negatives=tuple(rows[n].passage for n in wrong),
                negative_ids=tuple(f"c{n}" for n in wrong),
                scores=(7.0 - row, *(float(n) / 2 for n in wrong)) if wrong else (),
            )
        )
    return made


def batch_of(model: SentenceTransformer, rows: list[Pair], in_batch: bool = True) -> Columns:
    return PairBatches(rows, {}, model, len(rows), seed=0, in_batch=in_batch).batch(0, 0)


def gradients(model: nn.Module, value: Tensor) -> list[Tensor]:
    model.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    return [value.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def assert_same(found: list[Tensor], expected: list[Tensor], rtol: float = 1e-4, atol: float = 2e-6) -> None:
    assert len(found) == len(expected) > 10
    assert any(part.abs().max() > 1e-4 for part in expected[1:])
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=rtol, atol=atol)


def objective(name: str, **settings: Any) -> Any:
    return plugins.load("objective", name)(**settings)


def compared(name: str, folder: Path, rows: list[Pair], reference: Callable[..., Any], **settings: Any) -> None:
    """The objective and the library's loss on the same batch of the same model."""
    made = objective(name, **settings)
    found = []
    for own in (True, False):
        model = load_encoder(folder, RUNTIME).eval()
        batch = batch_of(model, rows, made.compares_batch())
        labels = batch.scores if batch.scores is not None else torch.zeros(0)
        value = made.build(model)(model, batch) if own else reference(model)([dict(c) for c in batch], labels)
        found.append(gradients(model, value))
    assert_same(*found)


@pytest.mark.parametrize(
    ("directions", "partition", "mode"),
    [
        (("query_to_doc",), "auto", "joint"),
        (BOTH, "auto", "per_direction"),
        (BOTH, "joint", "joint"),
        (("query_to_doc", "query_to_query"), "auto", "joint"),
        (ALL, "auto", "joint"),
    ],
)
@pytest.mark.parametrize("hard", [0, 1, 2])
def test_every_direction_of_multiple_negatives(
    directions: tuple[str, ...], partition: str, mode: str, hard: int, tiny_embedding: Path
) -> None:
    def reference(model: SentenceTransformer) -> nn.Module:
        return MultipleNegativesRankingLoss(model, scale=12.0, directions=directions, partition_mode=mode)

    rows = tasks.pairs() if not hard else with_negatives(1)
    if hard == 2:  # each once in the batch, two columns of four
        rows = [replace(r, negatives=(r.negatives[0], f"never {n}"), negative_ids=(r.negative_ids[0], f"x{n}"))
                for n, r in enumerate(rows)]  # fmt: skip
    settings = {"scale": 12.0, "directions": directions, "partition_mode": partition}
    compared("multiple_negatives", tiny_embedding, rows, reference, **settings)


def test_all_directions_where_some_queries_have_no_hard_negative(tiny_embedding: Path) -> None:
    """A short column by hand: own hard negatives are no negatives of the own passage, those of others are."""
    model = load_encoder(tiny_embedding, RUNTIME).eval()
    batch = batch_of(model, with_negatives(1, full=False))
    assert [len(column["input_ids"]) for column in batch] == [4, 4, 2]
    found = objective("multiple_negatives", directions=ALL).build(model)(model, batch)
    assert torch.isfinite(torch.stack([part.abs().max() for part in gradients(model, found)])).all()
    with torch.no_grad():
        q, d, h = (model(dict(column))["sentence_embedding"] for column in batch)
    eye, own = torch.eye(4).bool(), torch.zeros(4, 2).bool()
    own[batch.owners[0], torch.arange(2)] = True
    parts = [q @ d.T, q @ h.T, (q @ d.T).T, (q @ q.T).masked_fill(eye, -torch.inf)]
    parts += [(d @ d.T).masked_fill(eye, -torch.inf), (d @ h.T).masked_fill(own, -torch.inf)]
    expected = torch.logsumexp(20 * torch.cat(parts, 1), 1) - 20 * (q * d).sum(1)
    torch.testing.assert_close(found.detach(), expected.mean(), rtol=0, atol=1e-4)


def test_a_plain_list_must_say_whose_its_hard_negatives_are(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)
    batch = list(batch_of(model, with_negatives(1, full=False)))
    with pytest.raises(ValueError, match="use Columns"):
        owners(batch)
    assert [rows.tolist() for rows in owners(batch[:2])] == []


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("hard", [False, True])
def test_cached_multiple_negatives_has_the_librarys_gradients(size: int, hard: bool, tiny_embedding: Path) -> None:
    def reference(model: SentenceTransformer) -> nn.Module:
        return CachedMultipleNegativesRankingLoss(
            model, mini_batch_size=size, directions=BOTH, partition_mode="per_direction"
        )

    rows = with_negatives(1, full=False) if hard else tasks.pairs()
    compared("cached_multiple_negatives", tiny_embedding, rows, reference, mini_batch_size=size)


def many(count: int) -> list[Pair]:
    """So many different questions and passages out of the tiny model's words."""
    rows = tasks.pairs()
    words = sorted({word for pair in rows for word in pair.passage.split()})
    return [
        Pair(f"what {words[n % 40]} {words[n // 40]} {n}?", f"{words[n % 37]} {words[n // 37]} {n}", f"p{n}")
        for n in range(count)
    ]


@pytest.mark.parametrize("name", ["cached_multiple_negatives", "gist", "matryoshka"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_cache_changes_no_gradient_of_a_large_batch(
    name: str, precision: torch.dtype, tiny_embedding: Path
) -> None:
    """Backward outside of autocast and times a weight, as the loop goes; another term under the same autocast."""
    rows = many(200)
    plain = {"cached_multiple_negatives": "multiple_negatives"}.get(name, name)
    extra: dict[str, Any] = {"dims": (32, 8)} if name == "matryoshka" else {}
    inner = {"objective": {"cached_multiple_negatives": {"mini_batch_size": 24}}}
    cached = {**extra, **(inner if name == "matryoshka" else {"mini_batch_size": 24})}
    found = []
    for own, settings in ((plain, extra), (name, cached)):
        model = load_encoder(tiny_embedding, RUNTIME).eval()
        batch = batch_of(model, rows)
        assert len(batch[0]["input_ids"]) == 200
        loss = objective(own, **settings).build(model)
        seen: list[bool] = []
        model.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_autocast_enabled("cpu")))
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            value = loss(model, batch)
            other = model(dict(batch[0]))["sentence_embedding"].float().sum()
        found.append(gradients(model, (value.float() + other) * 0.25))
        assert set(seen) == {precision != torch.float32}
        # The other term, and each column, or twice each mini-batch of each.
        assert len(seen) == (1 + 2 if own == plain and settings == extra else 1 + 2 * 2 * 9)
    if precision == torch.float32:
        assert_same(*found)
    else:  # mini-batches are padded less, and so round differently
        left, right = (torch.cat([part.flatten() for part in parts[1:]]) for parts in found)
        assert torch.nn.functional.cosine_similarity(left, right, dim=0) > 0.995
        assert float(left.norm()) == pytest.approx(float(right.norm()), rel=0.02)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_cache_draws_the_same_dropout_twice(precision: torch.dtype, tiny_embedding: Path) -> None:
    """The gradient is the one of the loss that was returned: checked by a step along it."""
    model = load_encoder(tiny_embedding, RUNTIME).train()
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
    batch = batch_of(model, tasks.pairs())
    loss = objective("cached_multiple_negatives", mini_batch_size=3).build(model)

    def value() -> Tensor:
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            return loss(model, batch)

    before = gradients(model, value())
    norm = float(torch.stack([part.square().sum() for part in before[1:]]).sum())
    step = 1e-3 if precision == torch.float32 else 3e-2
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= step / norm**0.5 * parameter.grad
    slope = (float(before[0]) - float(value().detach())) / step
    assert slope == pytest.approx(norm**0.5, rel=0.05 if precision == torch.float32 else 0.3)


@pytest.mark.parametrize("hard", [0, 1])
@pytest.mark.parametrize("strategy", ["absolute", "relative"])
@pytest.mark.parametrize("contrast", [True, False])
def test_gist_with_the_base_as_its_guide(hard: int, strategy: str, contrast: bool, tiny_embedding: Path) -> None:
    settings = {
        "temperature": 0.05,
        "margin_strategy": strategy,
        "margin": 0.05,
        "contrast_anchors": contrast,
        "contrast_positives": contrast,
    }
    rows = with_negatives(1, full=False) if hard else tasks.pairs()
    compared("gist", tiny_embedding, rows, lambda m: GISTEmbedLoss(m, copy.deepcopy(m), **settings), **settings)


@pytest.mark.parametrize("size", [None, 3])
def test_gist_with_another_guide_which_reads_with_its_own_prompts(
    size: int | None, tiny_embedding: Path, tmp_path: Path
) -> None:
    prompts = {"query": "what ", "document": "every "}
    folder = build_embedding(tmp_path / "guide", seed=5, prompts=prompts)
    guide = load_encoder(folder, RUNTIME).eval()
    model = load_encoder(tiny_embedding, RUNTIME).eval()
    batch = batch_of(model, tasks.pairs())
    made = objective("gist", guide=str(folder), mini_batch_size=size, contrast_anchors=False, contrast_positives=False)
    found = made.build(model)(model, batch)
    with torch.no_grad():
        q, d = (model(dict(column))["sentence_embedding"] for column in batch)
        texts = [[prompts[role] + text for text in column] for role, column in zip(prompts, batch.texts, strict=True)]
        guided = torch.stack([guide(guide.preprocess(column))["sentence_embedding"] for column in texts])
    sims = guided[0] @ guided[1].T
    likely = (sims > sims.diagonal().unsqueeze(1)) & ~torch.eye(8).bool()
    assert 0 < likely.sum() < 56
    logits = (q @ d.T / 0.01).masked_fill(likely, -torch.inf)
    torch.testing.assert_close(
        found.detach(), nn.functional.cross_entropy(logits, torch.arange(8)), rtol=1e-4, atol=1e-4
    )
    assert made.depends() == [find_model(str(folder)).revision]
    assert all(parameter.grad is None for parameter in guide.parameters())


@pytest.mark.parametrize(
    ("inner", "reference"),
    [
        (
            "multiple_negatives",
            lambda m: MultipleNegativesRankingLoss(m, directions=BOTH, partition_mode="per_direction"),
        ),
        (
            {"cached_multiple_negatives": {"mini_batch_size": 3}},
            lambda m: CachedMultipleNegativesRankingLoss(
                m, mini_batch_size=3, directions=BOTH, partition_mode="per_direction"
            ),
        ),
        ({"gist": {"temperature": 0.05}}, lambda m: GISTEmbedLoss(m, copy.deepcopy(m), temperature=0.05)),
    ],
)
def test_matryoshka_around(inner: Any, reference: Callable[..., Any], tiny_embedding: Path) -> None:
    dims, weights = (32, 16, 8), (1.0, 0.5, 2.0)
    compared(
        "matryoshka",
        tiny_embedding,
        tasks.pairs(),
        lambda model: MatryoshkaLoss(model, reference(model), list(dims), list(weights)),
        objective=inner,
        dims=dims,
        weights=weights,
    )


def test_matryoshka_refuses_lengths_that_the_model_does_not_have(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)
    base = find_model(str(tiny_embedding))
    for dims in ((64, 32), (16, 8)):
        with pytest.raises(UserError, match="32 dimensions"):
            objective("matryoshka", dims=dims).build(model)
        with pytest.raises(UserError, match="32 dimensions"):
            objective("matryoshka", dims=dims).check(base)
    objective("matryoshka", dims=(32, 8)).check(base)


def test_what_needs_a_transformer_is_refused_for_a_table_of_words() -> None:
    static = StaticEmbedding(word_tokenizer().backend_tokenizer, embedding_dim=16)
    model = SentenceTransformer(modules=[static], device="cpu")
    batch = batch_of(model, with_negatives(1))
    value = objective("matryoshka", dims=(16, 8)).build(model)(model, batch)
    assert torch.isfinite(value)
    for name, settings in (("cached_multiple_negatives", {}), ("gist", {}), ("gist", {"mini_batch_size": 2})):
        with pytest.raises(UserError, match="looks up words in a table"):
            objective(name, **settings).build(model)
    scored = batch_of(model, with_negatives(2), in_batch=False)
    gradient = [p for p in gradients(model, objective("listwise").build(model)(model, scored))[1:] if p.abs().max() > 0]
    assert gradient


def scaled(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda left, right: scale * pairwise_cos_sim(left, right)


@pytest.mark.parametrize("count", [1, 3])
def test_margin_mse(count: int, tiny_embedding: Path) -> None:
    rows = with_negatives(count)
    compared("margin_mse", tiny_embedding, rows, lambda m: MarginMSELoss(m, scaled(8.0)), scale=8.0)


@pytest.mark.parametrize("count", [1, 3])
def test_listwise(count: int, tiny_embedding: Path) -> None:
    def reference(model: SentenceTransformer) -> nn.Module:
        return DistillKLDivLoss(model, scaled(8.0), temperature=2.0)

    compared("listwise", tiny_embedding, with_negatives(count), reference, scale=8.0, temperature=2.0)


@pytest.mark.parametrize("name", ["margin_mse", "listwise"])
def test_questions_with_fewer_hard_negatives_count_by_those_that_they_have(name: str, tiny_embedding: Path) -> None:
    """A batch of different lengths is the mean of its rows alone, by hard negatives or by questions."""
    model = load_encoder(tiny_embedding, RUNTIME).eval()
    rows = with_negatives(3, full=False)
    assert {len(row.negatives) for row in rows} == {2, 3}
    loss: Loss = objective(name).build(model)
    together = gradients(model, loss(model, batch_of(model, rows, in_batch=False)))
    total = None
    for row in rows:
        alone = gradients(model, loss(model, batch_of(model, [row], in_batch=False)))
        share = len(row.negatives) / sum(len(r.negatives) for r in rows) if name == "margin_mse" else 1 / len(rows)
        parts = [share * part for part in alone]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
    assert total is not None
    assert_same(together, total, atol=1e-5)


@pytest.mark.parametrize("name", ["margin_mse", "listwise"])
def test_a_batch_without_a_teacher_is_refused(name: str, tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)
    with pytest.raises(ValueError, match="no teacher"):
        objective(name).build(model)(model, batch_of(model, tasks.pairs(), in_batch=False))


def test_false_negatives_stay_out_of_a_distilled_row_only(tiny_embedding: Path) -> None:
    """In-batch objectives lose a hard negative that another question of the batch must spare; the distilled keep it."""
    model = load_encoder(tiny_embedding, RUNTIME)
    rows = with_negatives(1)
    rows[0] = replace(rows[0], spared=(rows[1].negative_ids[0],))
    contrast, alone = batch_of(model, rows), batch_of(model, rows, in_batch=False)
    texts = [text for column in contrast.texts[2:] for text in column]
    assert rows[1].negatives[0] not in texts
    assert contrast.scores is None
    assert rows[1].negatives[0] in alone.texts[2]
    assert alone.scores is not None
    assert alone.scores.shape == (4, 2)
    queries = [alone.texts[0][row] for row in alone.owners[0]]
    by_query = {row.query: row.negatives[0] for row in rows}
    assert [by_query[query] for query in queries] == list(alone.texts[2])
