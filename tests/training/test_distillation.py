"""The language model's objectives beside plain cross-entropy: by hand, by transformers, and who learns."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from torch import Tensor

from raglift import plugins
from raglift.errors import UserError
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.training.examples import Example, ExampleBatches
from raglift.training.next_token import IGNORED
from raglift.training.objectives import distillation
from raglift.training.objectives.distillation import divergence
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import build_llm


def batches(folder: Path, size: int, rows: list[Example] | None = None) -> ExampleBatches:
    rows = rows or tasks.examples(tasks.chat_renderer(folder))
    return ExampleBatches(rows, load_tokenizer(folder), RUNTIME.device, size, seed=0)


def objective(name: str, **settings: Any) -> Any:
    return plugins.load("objective", name)(**settings)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model of the same tokenizer."""
    return build_llm(tmp_path_factory.mktemp("teacher"), seed=7)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("weight", [0.01, 0.5, 1.0])
def test_the_prompts_weight_is_a_weighted_mean_over_rows_alone(tiny_llm: Path, size: int, weight: float) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    made = objective("answer_only", prompt_weight=weight)
    batch = batches(tiny_llm, size).batch(0, 0)
    total, count = 0.0, 0.0
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        real = mask.bool()
        ids, labels = ids[real], labels[real]
        logs = model(ids[None]).logits[0, :-1].detach().double().log_softmax(1)
        for place in range(1, len(ids)):
            each = 1.0 if labels[place] != IGNORED else weight
            total -= each * float(logs[place - 1, ids[place]])
            count += each
    assert made.build(model)(model, batch).item() == pytest.approx(total / count, abs=1e-4)
    assert made.weight(batch) == pytest.approx(count)


def test_a_whole_prompts_weight_is_transformers_own_loss(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    batch = batches(tiny_llm, 1).batch(0, 0)
    expected = model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
    found = objective("answer_only", prompt_weight=1.0).build(model)(model, batch)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_small_weight_is_nearly_none(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    batch = batches(tiny_llm, 4).batch(0, 0)
    none, little = (objective("answer_only", prompt_weight=w).build(model)(model, batch).item() for w in (0.0, 1e-9))
    assert little == pytest.approx(none, abs=1e-5)


@pytest.mark.parametrize("name", ["answer_only", "distillation"])
def test_two_batches_by_their_weights_are_one(name: str, tiny_llm: Path, teacher: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    settings = {"answer_only": {"prompt_weight": 0.1}, "distillation": {"teacher": str(teacher)}}[name]
    made = objective(name, **settings)
    loss = made.build(model)
    whole, halves = batches(tiny_llm, 8).batch(0, 0), batches(tiny_llm, 4)
    parts = [halves.batch(0, index) for index in range(2)]
    weights = [made.weight(part) for part in parts]
    mean = sum(w * loss(model, part).item() for w, part in zip(weights, parts, strict=True)) / sum(weights)
    assert made.weight(whole) == pytest.approx(sum(weights))
    assert loss(model, whole).item() == pytest.approx(mean, abs=1e-4)


def logits(rows: list[list[float]]) -> Tensor:
    """Logits whose softmax at temperature 1 are these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


def test_the_divergence_by_hand() -> None:
    student, teacher = logits([[0.5, 0.25, 0.25]]), logits([[0.25, 0.5, 0.25]])
    expected = 0.25 * math.log(0.5) + 0.5 * math.log(2) + 0.25 * math.log(1)
    assert divergence(student, teacher, 1.0, None).item() == pytest.approx(expected)
    # Of the teacher's, the second is the likeliest; the other two are one outcome of probability one half.
    others = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(student, teacher, 1.0, 1).item() == pytest.approx(others)
    # At temperature 2 probabilities are the square roots, normalised.
    p, q = ([math.sqrt(v) for v in row] for row in ([0.25, 0.5, 0.25], [0.5, 0.25, 0.25]))
    p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
    soft = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert divergence(student, teacher, 2.0, None).item() == pytest.approx(soft)


def test_the_divergence_of_the_likeliest_is_never_more_and_ends_as_the_whole() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 50) * 3, torch.randn(6, 50) * 3
    found = [divergence(student, teacher, 2.0, k) for k in (1, 5, 20, 49, 50, None)]
    for less, more in pairwise(found):
        assert (less <= more + 1e-5).all()
    torch.testing.assert_close(found[-1], found[-3], rtol=0, atol=1e-3)
    assert (found[0] >= -1e-6).all()
    assert divergence(student, student, 2.0, 5).abs().max() < 1e-5
    whole = torch.nn.functional.kl_div(
        (student / 2).log_softmax(1), (teacher / 2).log_softmax(1), reduction="none", log_target=True
    )
    torch.testing.assert_close(found[-1], whole.sum(1))


def test_a_wider_output_layer_of_the_teacher_holds_no_token_more() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 10), torch.randn(4, 10)
    wider = torch.cat([teacher, torch.full((4, 6), 9.0)], dim=1)
    for top_k in (None, 3):
        expected = divergence(student, teacher, 1.0, top_k)
        torch.testing.assert_close(divergence(student, wider, 1.0, top_k), expected)
        assert divergence(wider, student, 1.0, top_k).isfinite().all()


@pytest.mark.parametrize("top_k", [None, 5])
def test_distillation_is_the_mix_over_the_answers_tokens(top_k: int | None, tiny_llm: Path, teacher: Path) -> None:
    model, large = load_causal_lm(tiny_llm, RUNTIME), load_causal_lm(teacher, RUNTIME)
    batch = batches(tiny_llm, 3).batch(0, 0)
    made = objective("distillation", teacher=str(teacher), temperature=3.0, share=0.3, top_k=top_k)
    found = made.build(model)(model, batch)
    found.backward()
    rows = []
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        real = mask.bool()
        places = (labels[real][1:] != IGNORED).nonzero().flatten()
        with torch.no_grad():
            rows.append([m(ids[real][None]).logits[0, places] for m in (model, large)])
    student, taught = (torch.cat([row[side] for row in rows]) for side in range(2))
    labels = batch["labels"][batch["labels"] != IGNORED]
    hard = torch.nn.functional.cross_entropy(student, labels)
    soft = divergence(student, taught, 3.0, top_k).mean()
    assert found.item() == pytest.approx(float(0.7 * hard + 0.3 * 9 * soft), rel=1e-4)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_only_the_student_is_given_gradients(tiny_llm: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def watched(*args: Any) -> Any:
        torch.rand(1)
        loaded.append(load_causal_lm(*args))
        return loaded[-1]

    monkeypatch.setattr(distillation, "load_causal_lm", watched)
    model = load_causal_lm(tiny_llm, RUNTIME)
    before = tasks.bits(model)
    loss = objective("distillation", teacher=str(teacher), share=1.0).build(model)
    assert not loaded  # memory is taken when the training begins
    state = torch.get_rng_state()
    for index in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss(model, batches(tiny_llm, 4).batch(0, index)).backward()
    assert torch.equal(state, torch.get_rng_state())  # whenever it is loaded, dropout stays the same
    (large,) = loaded
    assert large.dtype == torch.bfloat16
    assert not large.training
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in large.parameters())
    assert tasks.same(before, tasks.bits(model))  # the teacher is no part of the model that is saved


def test_a_model_is_its_own_perfect_teacher(tiny_llm: Path) -> None:
    model = load_causal_lm(tiny_llm, RUNTIME)
    loss = objective("distillation", teacher=str(tiny_llm), share=1.0, top_k=20).build(model)
    assert loss(model, batches(tiny_llm, 4).batch(0, 0)).item() == pytest.approx(0.0, abs=1e-5)


def test_a_teacher_of_another_tokenizer_is_refused(tiny_llm: Path, tmp_path: Path) -> None:
    folder = build_llm(tmp_path / "other", seed=3)
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens([AddedToken("harbourmaster")])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="Their tokenizers differ") as caught:
        objective("distillation", teacher=str(folder)).check(find_model(str(tiny_llm)))
    assert "synthesis.model" in str(caught.value)


def test_a_teacher_with_a_shorter_window_is_refused(tiny_llm: Path, teacher: Path, tmp_path: Path) -> None:
    base = find_model(str(tiny_llm))
    objective("distillation", teacher=str(teacher)).check(base)
    model = load_causal_lm(tiny_llm, RUNTIME)
    model.config.max_position_embeddings = 256
    model.save_pretrained(tmp_path / "short")
    load_tokenizer(tiny_llm).save_pretrained(tmp_path / "short")
    with pytest.raises(UserError, match="It reads 256 tokens"):
        objective("distillation", teacher=str(tmp_path / "short")).check(base)


def test_a_teacher_that_is_nowhere_is_said(tiny_llm: Path) -> None:
    with pytest.raises(UserError, match="There is no model called 'SmolLM9'"):
        objective("distillation", teacher="SmolLM9").check(find_model(str(tiny_llm)))
