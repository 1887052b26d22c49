"""L2-SP and elastic weights: their gradients against finite differences, and what the Fisher information is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raglift.config import PluginSpec
from raglift.errors import UserError
from raglift.models.flattened import rows_of
from raglift.models.llm import load_tokenizer
from raglift.records import Target
from raglift.strategies.elastic_weights import ElasticWeights
from raglift.strategies.l2_sp import L2SP
from raglift.training import general_text
from raglift.training.fisher import diagonal_fisher, drawn, told_orders, told_passages, told_tokens
from raglift.training.lists import scores_of
from raglift.training.outcome import strategy_key
from raglift.training.parameters import trainable
from raglift.training.strategy import Strategy
from raglift.training.study import Study
from tests import tasks
from tests.fits import strategies_named
from tests.tasks import QUIET
from tests.tiny import SENTENCES


def study_of(target: Target, folder: Path, model: nn.Module, seed: int = 0) -> Study:
    task = tasks.task(target, folder, model)
    base = {name: value.detach().clone() for name, value in trainable(model).items()}
    return Study(target, base, task.batches, task.loss, nullcontext, seed, QUIET)


def assert_gradient(model: nn.Module, strategy: Strategy, penalty: Callable[[], float], seed: int) -> None:
    """What `after_backward` adds equals the central differences of the penalty, in a few coordinates of each weight."""
    picks = torch.Generator().manual_seed(seed)
    before = {name: torch.randn(value.shape, generator=picks) for name, value in trainable(model).items()}
    for name, value in trainable(model).items():
        value.grad = before[name].clone()
    strategy.after_backward(model)
    step = 1e-2
    for name, value in trainable(model).items():
        assert value.grad is not None
        added = (value.grad - before[name]).flatten()
        flat = value.detach().view(-1)
        for place in torch.randint(len(flat), (2,), generator=picks).tolist():
            kept = flat[place].item()
            sides = []
            for side in (step, -step):
                flat[place] = kept + side
                sides.append(penalty())
            flat[place] = kept
            numeric = (sides[0] - sides[1]) / (2 * step)
            assert float(added[place]) == pytest.approx(numeric, rel=2e-2, abs=1e-5), name


def moved(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in trainable(model).values():
            value.add_(0.1 * torch.randn_like(value))


def penalty_of(
    model: nn.Module, base: dict[str, Tensor], weights: Callable[[str], Tensor | float], strength: float
) -> Callable[[], float]:
    def penalty() -> float:
        parts = [
            (weights(name) * (value.detach().double() - base[name].double()) ** 2).sum()
            for name, value in trainable(model).items()
        ]
        return 0.5 * strength * float(torch.stack(parts).sum())

    return penalty


@pytest.fixture
def folders(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("owner", ["full", "lora"])
def test_l2_sp_is_the_gradient_of_the_squared_distance(target: Target, owner: str, folders: dict[Target, Path]) -> None:
    model = strategies_named((owner,))[0].prepare(tasks.load(target, folders[target]), target)
    study = study_of(target, folders[target], model)
    strategy = L2SP(alpha=0.3)
    strategy.begin(model, study)
    moved(model, 1)
    assert_gradient(model, strategy, penalty_of(model, dict(study.base), lambda _: 1.0, 0.3), 2)


@pytest.mark.parametrize("target", ["embedding", "llm"])
@pytest.mark.parametrize("owner", ["full", "lora"])
def test_elastic_weights_is_the_gradient_of_the_weighted_distance(
    target: Target, owner: str, folders: dict[Target, Path]
) -> None:
    model = strategies_named((owner,))[0].prepare(tasks.load(target, folders[target]), target)
    study = study_of(target, folders[target], model)
    strategy = ElasticWeights(strength=50.0, samples=8, length=12)
    strategy.begin(model, study)
    fisher = strategy._fisher
    assert all(bool((value >= 0).all()) for value in fisher.values())
    for name, value in fisher.items():  # a LoRA's first factor says nothing while the second is zero
        silent = any(part in name for part in (".lora_A.", "pooler", "key.bias"))
        assert (float(value.max()) > 1e-12) == (not silent), name
    moved(model, 3)
    assert_gradient(model, strategy, penalty_of(model, dict(study.base), lambda name: fisher[name].double(), 50.0), 4)


@pytest.mark.parametrize("strategy", [L2SP(), ElasticWeights(samples=4, length=8)])
def test_what_a_step_does_not_train_is_not_pulled(strategy: Strategy, tiny_llm: Path) -> None:
    model = tasks.load("llm", tiny_llm)
    strategy.begin(model, study_of("llm", tiny_llm, model))
    moved(model, 5)
    names = list(trainable(model))
    for name, value in trainable(model).items():
        value.grad = torch.zeros_like(value) if name == names[-2] else None
    strategy.after_backward(model)
    assert [name for name, value in model.named_parameters() if value.grad is not None] == [names[-2]]
    assert bool(dict(model.named_parameters())[names[-2]].grad.any())  # type: ignore[union-attr]


class Toy(nn.Module):
    """Predicts the next of five tokens from the one before."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.table = nn.Parameter(torch.randn(5, 3))
        self.out = nn.Parameter(torch.randn(3, 5))

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        return SimpleNamespace(logits=self.table[input_ids] @ self.out)


def exact(model: Toy, ids: Tensor) -> dict[str, Tensor]:
    """The mean over places of the expected squared gradient, every outcome weighed by its probability."""
    found = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for place in range(ids.shape[1]):
        chances = torch.log_softmax(model(ids).logits[0, place], dim=0)
        for outcome in range(5):
            gradients = torch.autograd.grad(chances[outcome], list(model.parameters()), retain_graph=True)
            for total, gradient in zip(found.values(), gradients, strict=True):
                total += float(chances[outcome].detach().exp()) * gradient**2 / ids.shape[1]
    return found


def test_the_fisher_information_is_the_expected_squared_gradient() -> None:
    model, ids = Toy(), torch.tensor([[0, 3, 1]])
    generator = torch.Generator().manual_seed(0)
    said = told_tokens(model, [ids] * 4000, nullcontext, generator)
    found = diagonal_fisher(dict(model.named_parameters()), said)
    for name, value in exact(model, ids).items():
        torch.testing.assert_close(found[name], value, rtol=0.15, atol=0.01)


def test_the_penalty_at_strength_one_is_the_divergence_to_second_order() -> None:
    """Along one weight the diagonal sees all of it."""
    model, ids = Toy().double(), torch.tensor([[0, 3, 1]])
    fisher = exact(model, ids)["out"]
    base = torch.log_softmax(model(ids).logits[0], dim=-1).detach()
    with torch.no_grad():
        model.out[1, 2] += 1e-3
        tuned = torch.log_softmax(model(ids).logits[0], dim=-1)
    divergence = float((base.exp() * (base - tuned)).sum(-1).mean())
    assert divergence == pytest.approx(0.5 * float(fisher[1, 2]) * 1e-6, rel=1e-2)


def test_examples_are_squared_one_by_one() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    examples: Iterator[tuple[Tensor, int]] = ((scale * weight.sum(), 1) for scale in (3.0, -3.0))
    assert diagonal_fisher({"w": weight}, examples)["w"].tolist() == [9.0, 9.0]  # the mean's square would be 0


def test_a_query_asks_for_a_passage_of_its_group_and_never_for_itself(tiny_embedding: Path) -> None:
    model = tasks.load("embedding", tiny_embedding).eval()
    features = model.preprocess(list(SENTENCES[:4]))  # type: ignore[operator]
    groups: list[Any] = [(features, None), (features, features)]
    said = list(told_passages(model, groups, nullcontext, torch.Generator().manual_seed(0)))
    assert [count for _, count in said] == [1] * 8
    with torch.no_grad():
        vectors = nn.functional.normalize(model(dict(features))["sentence_embedding"], dim=1)
        scores = 20 * vectors @ vectors.T
    others = torch.log_softmax(scores.masked_fill(torch.eye(4, dtype=torch.bool), -torch.inf), dim=1)
    for row, (value, _) in enumerate(said):
        among = others[row] if row < 4 else torch.log_softmax(scores[row - 4], dim=0)
        assert any(float(value.detach()) == pytest.approx(float(each), abs=1e-4) for each in among if each > -torch.inf)


def test_outcomes_are_drawn_by_their_probability_and_by_the_seed() -> None:
    chances = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    found = drawn(chances, torch.Generator().manual_seed(3)).flatten()
    assert (found.bincount(minlength=3) / 4000).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    assert torch.equal(found, drawn(chances, torch.Generator().manual_seed(3)).flatten())


def test_the_language_model_writes_its_own_text_from_its_start_token(tiny_llm: Path) -> None:
    model: Any = tasks.load("llm", tiny_llm)
    texts = general_text.written_by(model, 40, 24, torch.Generator().manual_seed(1))
    again = general_text.written_by(model, 40, 24, torch.Generator().manual_seed(1))
    assert all(torch.equal(left, right) for left, right in zip(texts, again, strict=True))
    assert len({tuple(text[0].tolist()) for text in texts}) == 40
    end = model.config.eos_token_id
    for text in texts:
        ids = text[0].tolist()
        assert ids[0] == model.config.bos_token_id
        assert end not in ids[1:-1]
        assert len(ids) == 24 or ids[-1] == end
    logits = model(torch.tensor([[model.config.bos_token_id]])).logits[0, -1]
    first = torch.cat(general_text.written_by(model, 3000, 2, torch.Generator().manual_seed(2)))[:, 1]
    shares = first.bincount(minlength=len(logits)) / 3000
    assert float((shares - logits.softmax(0)).abs().max()) < 0.04


def test_a_model_without_a_start_token_is_refused(tiny_llm: Path) -> None:
    model: Any = tasks.load("llm", tiny_llm)
    model.config.bos_token_id = model.config.eos_token_id = None
    with pytest.raises(UserError, match="cannot write general text"):
        general_text.written_by(model, 2, 4, torch.Generator())


@pytest.mark.parametrize("owner", ["full", "lora"])
def test_the_users_text_is_cut_into_windows(owner: str, tiny_llm: Path, tmp_path: Path) -> None:
    file = tmp_path / "general.txt"
    file.write_text(" ".join(SENTENCES), "utf-8")
    model = strategies_named((owner,))[0].prepare(tasks.load("llm", tiny_llm), "llm")
    ids = load_tokenizer(tiny_llm)(" ".join(SENTENCES), add_special_tokens=False)["input_ids"]
    windows = general_text.token_windows(model, file.read_text(), 1000, 10, 0)
    assert sorted(w[0].tolist() for w in windows) == sorted(ids[i : i + 10] for i in range(0, len(ids), 10))
    some = general_text.token_windows(model, file.read_text(), 3, 10, 0)
    assert len({tuple(w[0].tolist()) for w in some}) == 3
    strategy = ElasticWeights(text=file, samples=3, length=10)
    strategy.begin(model, study_of("llm", tiny_llm, model))
    assert any(bool(value.any()) for value in strategy._fisher.values())


def test_the_users_text_for_an_embedding_model(tiny_embedding: Path, tmp_path: Path) -> None:
    file = tmp_path / "general.txt"
    file.write_text(" ".join(SENTENCES), "utf-8")
    model = tasks.load("embedding", tiny_embedding)
    study = study_of("embedding", tiny_embedding, model)
    found = []
    for text in (file, None):
        strategy = ElasticWeights(text=text, samples=12, length=6)
        strategy.begin(model, study)
        assert any(bool(value.any()) for value in strategy._fisher.values())
        found.append(strategy._fisher)
    assert not all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert all(value.grad is None for value in model.parameters())
    with pytest.raises(UserError, match="too short"):
        ElasticWeights(text=file, length=100).begin(model, study)


def test_a_reranker_is_weighed_by_the_order_of_lists(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "general.txt"
    file.write_text(" ".join(SENTENCES), "utf-8")
    model: Any = tasks.load("rerank", tiny_cross_encoder).eval()
    study = study_of("rerank", tiny_cross_encoder, model)
    found = []
    for text in (file, None):
        strategy = ElasticWeights(text=text, samples=6, length=6)
        strategy.begin(model, study)
        assert any(bool(value.any()) for value in strategy._fisher.values())
        found.append(strategy._fisher)
    assert not all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    batch = next(general_text.training_lists(study, 1))
    said = list(told_orders(model, [batch], nullcontext, torch.Generator().manual_seed(0)))
    assert [count for _, count in said] == [1] * 4
    with torch.no_grad():
        chances = torch.log_softmax(batch.table(scores_of(model, batch)), dim=1)
    for row, (value, _) in zip(chances, said, strict=True):
        assert any(float(value.detach()) == pytest.approx(float(each), abs=1e-4) for each in row)
    asked = list(general_text.word_lists(model, file.read_text(), 4, 6, 0))
    assert [len(each.labels) for each in asked] == [3] * 4, "each run of words asks for one of the others"
    with pytest.raises(UserError, match="too short"):
        ElasticWeights(text=file, length=100).begin(model, study)


def test_training_lists_end_with_the_data(tiny_cross_encoder: Path) -> None:
    study = study_of("rerank", tiny_cross_encoder, tasks.load("rerank", tiny_cross_encoder))
    for count, batches in ((1, 1), (4, 1), (5, 2), (64, 2)):
        assert len(list(general_text.training_lists(study, count))) == batches


def test_training_pairs_come_in_small_groups(tiny_embedding: Path) -> None:
    model = tasks.load("embedding", tiny_embedding)
    study = study_of("embedding", tiny_embedding, model)
    for count, sizes in ((64, [4, 4]), (6, [4, 2]), (5, [4]), (3, [3]), (1, [])):
        groups = list(general_text.training_groups(study, count))
        assert [rows_of(queries) for queries, _ in groups] == sizes
        assert [rows_of(passages) for _, passages in groups] == sizes


def test_nothing_to_weigh_by_is_said(tiny_embedding: Path) -> None:
    model = tasks.load("embedding", tiny_embedding)
    with pytest.raises(UserError, match="found nothing to weigh"):
        ElasticWeights(samples=1).begin(model, study_of("embedding", tiny_embedding, model))


def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, why in (("none.txt", "cannot be read"), ("empty.txt", "is empty"), ("binary.txt", "cannot be read")):
        with pytest.raises(ValidationError, match=why):
            ElasticWeights(text=tmp_path / name)


def test_the_key_follows_what_the_text_holds(tmp_path: Path) -> None:
    def key(file: Path) -> Any:
        return strategy_key([PluginSpec(name="elastic_weights", settings={"text": str(file)})])

    (tmp_path / "one.txt").write_text("general text")
    (tmp_path / "two.txt").write_text("general text")
    assert key(tmp_path / "one.txt") == key(tmp_path / "two.txt")
    before = key(tmp_path / "one.txt")
    (tmp_path / "one.txt").write_text("another text")
    assert key(tmp_path / "one.txt") != before
