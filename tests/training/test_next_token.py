"""Examples end to end teach exactly what they teach as padded rows, whatever reads the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raglift import plugins
from raglift.models.end_to_end import lengths_of
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.padding_free import enable
from raglift.training.distributions import token_divergence
from raglift.training.examples import Example, ExampleBatches
from raglift.training.forwards import Forwards
from raglift.training.next_token import IGNORED, apart, learning, logits_of, predicting
from tests import tasks
from tests.tasks import RUNTIME
from tests.tiny import build_llm

Pairs = list[tuple[dict[str, Tensor], dict[str, Tensor]]]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llm(tmp_path_factory.mktemp("teacher"), seed=7)


def both(folder: Path, size: int, rows: list[Example] | None = None) -> Pairs:
    """Each batch end to end, and padded."""
    rows = rows or [*tasks.examples(tasks.chat_renderer(folder)), Example("a much longer " * 12, "answer " * 5)]
    common = (rows, load_tokenizer(folder), RUNTIME.device, size, 0)
    joined, padded = ExampleBatches(*common, end_to_end=True), ExampleBatches(*common)
    return [(joined.batch(1, index), padded.batch(1, index)) for index in range(len(joined))]


def able(folder: Path) -> nn.Module:
    model = load_causal_lm(folder, RUNTIME)
    assert enable(model)
    return model


def test_no_token_is_padding_and_each_example_begins_anew(tiny_llm: Path) -> None:
    for joined, padded in both(tiny_llm, 4):
        lengths = padded["attention_mask"].sum(1).tolist()
        assert lengths_of(joined["attention_mask"]) == lengths
        assert joined["input_ids"].shape == joined["labels"].shape == (1, sum(lengths))
        assert joined["position_ids"][0].tolist() == [place for length in lengths for place in range(length)]
        for name in ("input_ids", "labels"):
            assert torch.equal(joined[name][0], padded[name][padded["attention_mask"].bool()])
        again, wanted = apart(joined, learning(joined))
        assert torch.equal(wanted, learning(padded))
        assert torch.equal(again["attention_mask"], padded["attention_mask"])
        assert torch.equal(again["labels"], padded["labels"])


@pytest.mark.parametrize("size", [1, 3, 9])
@pytest.mark.parametrize("choose", [learning, predicting])
def test_logits_are_those_of_each_example_alone(tiny_llm: Path, size: int, choose: Any) -> None:
    model, plain = able(tiny_llm), load_causal_lm(tiny_llm, RUNTIME)
    for joined, padded in both(tiny_llm, size):
        expected = []
        mask = padded["attention_mask"].bool()
        for row in range(len(mask)):
            labels = padded["labels"][row, mask[row]]
            places = torch.arange(len(labels) - 1)
            if choose is learning:
                places = (labels[1:] != IGNORED).nonzero().flatten()
            expected.append(plain(padded["input_ids"][row, mask[row]][None]).logits[0, places])
        for used, batch in ((model, joined), (model, padded), (plain, joined), (plain, padded)):
            torch.testing.assert_close(logits_of(used, batch, choose(batch)), torch.cat(expected), rtol=1e-4, atol=1e-4)


def test_the_output_layer_is_computed_where_something_is_learned_alone(tiny_llm: Path) -> None:
    model = able(tiny_llm)
    seen: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:-1].numel()))  # type: ignore[union-attr]
    loss = plugins.load("objective", "answer_only")().build(model)
    for joined, _ in both(tiny_llm, 4):
        loss(model, joined)
        assert seen.pop() == int((joined["labels"] != IGNORED).sum())


def test_the_first_token_of_an_example_is_not_predicted_by_another(tiny_llm: Path) -> None:
    rows = [Example("", "the red kite hunts"), Example("", "a blue book"), Example("Where?", "in oaks")]
    ((joined, padded),) = both(tiny_llm, 3, rows)
    labels = int((joined["labels"] != IGNORED).sum())
    for batch in (joined, padded):
        assert int(learning(batch).sum()) == labels - 2
        assert plugins.load("objective", "answer_only")().weight(batch) == labels - 2
    model, plain = able(tiny_llm), load_causal_lm(tiny_llm, RUNTIME)
    loss = plugins.load("objective", "answer_only")().build(model)
    total = 0.0
    for row, mask in enumerate(padded["attention_mask"].bool()):
        ids, wanted = padded["input_ids"][row, mask][None], padded["labels"][row, mask][None]
        count = int((wanted[:, 1:] != IGNORED).sum())
        total += float(plain(input_ids=ids, labels=wanted).loss.detach()) * count
    for batch in (joined, padded):
        assert loss(model, batch).item() == pytest.approx(total / (labels - 2), rel=1e-5)


OBJECTIVES: list[tuple[str, dict[str, Any]]] = [
    ("answer_only", {}),
    ("answer_only", {"prompt_weight": 0.1}),
    ("distillation", {"top_k": 20}),
]


@pytest.mark.parametrize(("name", "settings"), OBJECTIVES)
@pytest.mark.parametrize("size", [1, 4])
def test_loss_gradient_and_weight_are_those_of_padded_rows(
    name: str, settings: dict[str, Any], size: int, tiny_llm: Path, teacher: Path
) -> None:
    settings = settings | ({"teacher": str(teacher)} if name == "distillation" else {})
    objective = plugins.load("objective", name)(**settings)
    found, expected = able(tiny_llm), load_causal_lm(tiny_llm, RUNTIME)
    for joined, padded in both(tiny_llm, size):
        assert objective.weight(joined) == pytest.approx(objective.weight(padded))
        losses = []
        for model, batch in ((found, joined), (expected, padded)):
            model.zero_grad()
            losses.append(objective.build(model)(model, batch))
            losses[-1].backward()
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
        for (key, value), other in zip(found.named_parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(value.grad, other.grad, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("prompt_weight", [0.0, 0.5])
@pytest.mark.parametrize("computed", [True, False])
def test_the_divergence_from_the_base_is_that_of_padded_rows(
    tiny_llm: Path, prompt_weight: float, computed: bool
) -> None:
    loss = plugins.load("objective", "answer_only")(prompt_weight=prompt_weight)
    found = []
    for side, model in enumerate((able(tiny_llm), load_causal_lm(tiny_llm, RUNTIME))):
        base = {name: value.detach().clone() for name, value in model.named_parameters()}
        with torch.no_grad():
            for number, value in enumerate(model.parameters()):
                value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
        for pair in both(tiny_llm, 4):
            forwards = Forwards(model).open()
            loss.build(model)(model, pair[side])
            calls = forwards.take() if computed else []
            forwards.close()
            found.append(token_divergence(model, base, pair[side], calls).item())
    half = len(found) // 2
    assert found[:half] == pytest.approx(found[half:], rel=1e-4)
    assert min(found) > 1e-3


def test_a_model_that_is_not_able_is_measured_against_the_base_too(tiny_llm: Path) -> None:
    model, ready = load_causal_lm(tiny_llm, RUNTIME), able(tiny_llm)
    joined, _ = both(tiny_llm, 9)[0]
    base = {name: value.detach() * 1.1 for name, value in model.named_parameters()}
    found, expected = (token_divergence(each, base, joined, []).item() for each in (model, ready))
    assert found == pytest.approx(expected, rel=1e-4)
    assert expected > 1e-3
