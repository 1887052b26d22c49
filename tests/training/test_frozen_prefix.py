"""Training above looked-up blocks is training the whole model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BloomConfig,
    DebertaV2Config,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    MPNetConfig,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    T5EncoderModel,
)

from raglift import plugins
from raglift.config import EmbeddingConfig, LLMConfig
from raglift.models.encoder import features, load_encoder
from raglift.models.find import find_model
from raglift.models.llm import load_causal_lm
from raglift.records import Target
from raglift.training import embedding_stage, hidden_states, llm_stage
from raglift.training.frozen_prefix import shorten
from raglift.training.hidden_states import HiddenStates
from raglift.training.lists import ListBatches
from raglift.training.loop import Fitted, Task, fit
from raglift.training.outcome import read_outcome
from raglift.training.parameters import block_list, trainable
from raglift.training.strategy import Shortened, Strategy, shortened_by
from raglift.training.token_runs import Run, runs_of
from tests import tasks
from tests.fits import STEPS, Killed, killing, settings_of
from tests.tasks import RUNTIME, bits, job, same
from tests.tiny import chat_tokenizer, word_tokenizer

TARGETS: tuple[Target, ...] = ("embedding", "llm", "rerank")
every_target = pytest.mark.parametrize("target", TARGETS)
plain_targets = pytest.mark.parametrize("target", TARGETS[:2])
"""Those whose model reads any tokens; a reranker reads pairs of texts."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Target, Path]:
    """Target -> folder of a model of four blocks, with dropout of its hidden states where it is BERT."""
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    llm, inner, embedding = (tmp_path_factory.mktemp("four") / name for name in ("llm", "inner", "embedding"))
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    torch.manual_seed(0)
    chat, words = chat_tokenizer(), word_tokenizer()
    config = LlamaConfig(vocab_size=len(chat), num_key_value_heads=2, initializer_range=0.2, **size)
    config.tie_word_embeddings, config.eos_token_id, config.pad_token_id = True, chat.eos_token_id, chat.pad_token_id
    LlamaForCausalLM(config).save_pretrained(llm)
    chat.save_pretrained(llm)
    BertModel(BertConfig(vocab_size=len(words), initializer_range=0.2, **size)).save_pretrained(inner)
    words.save_pretrained(inner)
    modules = [Transformer(str(inner), max_seq_length=48), Pooling(32, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(embedding), create_model_card=False)
    rerank = tmp_path_factory.mktemp("four") / "rerank"
    BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=1, **size)).save_pretrained(inner)
    CrossEncoder(str(inner), device="cpu").save_pretrained(str(rerank), create_model_card=False)
    return {"llm": llm, "embedding": embedding, "rerank": rerank}


def top(layers: int = 2) -> Strategy:
    found: Strategy = plugins.load("strategy", "top_layers")(layers=layers)
    return found


def loaded(target: Target, folder: Path, without_dropout: int = 0) -> nn.Module:
    """The model, of which the embeddings and so many blocks have no dropout."""
    model = tasks.load(target, folder)
    if without_dropout:
        _, blocks = block_list(model)
        upper = {id(module) for block in list(blocks)[without_dropout:] for module in block.modules()}
        for module in model.modules():
            if isinstance(module, nn.Dropout) and id(module) not in upper:
                module.p = 0.0
    return model


def training_runs(target: Target, folder: Path, model: nn.Module) -> Iterable[Run]:
    task = tasks.task(target, folder, model)
    if isinstance(task.batches, ListBatches):
        yield from task.batches.runs()
        return
    for index in range(len(task.batches)):
        batch = task.batches.batch(0, index)
        for inputs in batch if target == "embedding" else [batch]:
            yield from runs_of(inputs)


def shortened(
    target: Target, folder: Path, work: Path, strategy: Strategy, model: nn.Module | None = None, **runtime: Any
) -> Shortened:
    model = loaded(target, folder) if model is None else model
    short = strategy.shortened(model, target, replace(RUNTIME, **runtime))
    assert short is not None
    assert short.fill is not None
    short.fill(training_runs(target, folder, model), job(work))
    return short


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """How many calls of layers with weights each block makes, however it is called."""
    counts = [0] * len(block_list(model)[1])

    def count(place: int) -> Callable[..., None]:
        def add(*_: Any) -> None:
            counts[place] += 1

        return add

    handles = [
        module.register_forward_hook(count(place))
        for place, block in enumerate(block_list(model)[1])
        for module in block.modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def gradients(task: Task, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of a batch in training mode, with dropout where the model has it."""
    model.train()
    model.zero_grad()
    torch.manual_seed(7)
    loss = task.loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {name: p.grad.clone() for name, p in trainable(model).items() if p.grad is not None}


def assert_equal_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Within 1e-11 of each gradient's norm in float64; some, as a key's bias, are zero but for rounding."""
    assert found.keys() == expected.keys()
    least = 1e-2 * max(float(gradient.norm()) for gradient in expected.values())
    assert least
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm()) <= 1e-11 * max(least, float(gradient.norm())), name


@every_target
def test_losses_and_gradients_are_those_of_the_whole_model(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder, strategy = folders[target], top()
    whole = strategy.prepare(loaded(target, folder, without_dropout=2).double(), target)
    model = loaded(target, folder, without_dropout=2).double()
    short = shortened(target, folder, tmp_path, strategy, model, dtype=torch.float64)
    model = strategy.prepare(short.model, target)
    task = tasks.task(target, folder, whole)
    for index in range(len(task.batches)):
        batch = task.batches.batch(1, index)  # another epoch: other neighbours, other padding
        expected = gradients(task, whole, batch)
        with counted(model) as products:
            found = gradients(task, model, batch)
        assert products[:2] == [0, 0]
        assert all(products[2:])
        torch.testing.assert_close(found[0], expected[0], rtol=1e-11, atol=0)
        assert_equal_gradients(found[1], expected[1])


@every_target
def test_what_is_looked_up_was_computed_without_dropout(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    """Two looks at the same rows are equal, and equal to evaluation mode, whatever the dropout below."""
    folder = folders[target]
    model = shortened(target, folder, tmp_path, top()).model
    below = {id(module) for block in list(block_list(model)[1])[:2] for module in block.modules()}
    for module in model.modules():
        if isinstance(module, nn.Dropout) and id(module) not in below:
            module.p = 0.0
    task = tasks.task(target, folder, model)
    batch = task.batches.batch(0, 0)
    model.train()
    with torch.no_grad():
        first, second = task.loss(model, batch), task.loss(model, batch)
        model.eval()
        torch.testing.assert_close(first, task.loss(model, batch), rtol=1e-5, atol=0)
    assert torch.equal(first, second)


@plain_targets
def test_in_evaluation_mode_and_for_new_texts_the_model_is_whole(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder = folders[target]
    base = loaded(target, folder)
    model = shortened(target, folder, tmp_path, top()).model
    with counted(model) as products:
        found = tasks.outputs(target, folder, model)
    assert all(products)
    assert torch.equal(found, tasks.outputs(target, folder, base))
    batch: Any = {"input_ids": torch.tensor([[9, 8, 7], [6, 5, 4]]), "attention_mask": torch.ones(2, 3).long()}
    for whole in (base, model):
        for module in whole.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        whole.train()
    both = [whole(dict(batch)) if target == "embedding" else whole(**batch) for whole in (base, model)]
    key = "sentence_embedding" if target == "embedding" else "logits"
    torch.testing.assert_close(both[1][key], both[0][key], rtol=1e-5, atol=1e-5)


@plain_targets
def test_a_new_text_beside_a_known_one_is_computed_without_a_graph(
    target: Target, folders: dict[Target, Path], tmp_path: Path
) -> None:
    """In half precision too, where autocast must not keep a weight that it rounded without a graph."""
    folder = folders[target]
    strategy = top()
    short = shortened(target, folder, tmp_path, strategy, dtype=torch.bfloat16)
    model = strategy.prepare(short.model, target).train()
    known = next(iter(training_runs(target, folder, model)))
    ids = [known.columns[0], [9] * len(known)]
    batch: Any = {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(2, len(known)).long()}
    with counted(model) as products, torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(dict(batch)) if target == "embedding" else model(**batch)
        output["sentence_embedding" if target == "embedding" else "logits"].float().square().sum().backward()
    assert products[0]
    assert {name for name, p in trainable(model).items() if p.grad is None} <= {
        name for name in trainable(model) if "pooler" in name
    }


def fitted(
    target: Target,
    folder: Path,
    work: Path,
    names: tuple[str, ...] = (),
    change: Callable[[Task], Task] = lambda task: task,
    **runtime: Any,
) -> Fitted:
    """A training above looked-up blocks, as a new process would do it."""
    strategies = [top(), *(plugins.load("strategy", name)() for name in names)]
    torch.manual_seed(int(np.random.default_rng().integers(1 << 31)))
    short = shortened(target, folder, work, strategies[0], **runtime)
    task = change(tasks.task(target, folder, short.model))
    settings = settings_of(target, learning_rate=5e-3)
    once = replace(RUNTIME, checkpoint_seconds=0, **runtime)
    found = fit(short.model, task, strategies, settings, once, job(work, 5))
    assert short.whole(found.model) is found.model
    return found


@every_target
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_killed_and_resumed_equals_never_killed(
    target: Target, dtype: torch.dtype, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder = folders[target]
    base = bits(loaded(target, folder))
    whole = fitted(target, folder, tmp_path / "whole", dtype=dtype)
    at = int(np.random.default_rng().integers(2, STEPS + 1))
    with pytest.raises(Killed):
        fitted(target, folder, tmp_path / "cut", change=lambda task: killing(task, loss_at=at), dtype=dtype)
    resumed = fitted(target, folder, tmp_path / "cut", dtype=dtype)
    assert resumed.history == whole.history, f"killed at step {at}"
    assert same(bits(resumed.model), bits(whole.model)), f"killed at step {at}"
    assert whole.chosen != "base"
    learned = set(trainable(whole.model))
    state = bits(whole.model)
    assert all(torch.equal(base[name], state[name]) for name in state.keys() & base.keys() - learned)
    assert any(not torch.equal(base[name], state[name]) for name in learned)


@every_target
@pytest.mark.parametrize("name", ["kl_to_base", "l2_sp", "weight_interpolation"])
def test_anchors_go_with_it(target: Target, name: str, folders: dict[Target, Path], tmp_path: Path) -> None:
    with_it = fitted(target, folders[target], tmp_path / name, (name,))
    losses = [entry["loss"] for entry in with_it.history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_kl_to_base_begins_at_zero(folders: dict[Target, Path], tmp_path: Path) -> None:
    """The base sees the same looked-up states, in the same half precision."""
    strategy, anchor = top(), plugins.load("strategy", "kl_to_base")(strength=1e6)
    short = shortened("llm", folders["llm"], tmp_path, strategy, dtype=torch.bfloat16)
    model = strategy.prepare(short.model, "llm").train()
    task = tasks.task("llm", folders["llm"], model)
    anchor.begin(
        model, SimpleNamespace(base={n: p.detach().clone() for n, p in trainable(model).items()}, target="llm")
    )
    anchor.before_step(model, 0, 1)
    batch = task.batches.batch(0, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16), counted(model) as products:
        task.loss(model, batch)
        (term,) = anchor.losses(model, batch).values()
    assert float(term.detach()) == pytest.approx(0.0, abs=1e-6)
    assert products[:2] == [0, 0]


@pytest.mark.parametrize("name", ["cached_multiple_negatives", "gist"])
def test_objectives_that_call_the_model_in_their_own_way(
    name: str, folders: dict[Target, Path], tmp_path: Path
) -> None:
    """In pieces, twice, or beside a copy of it."""
    strategy, folder = top(), folders["embedding"]
    found = []
    for cached in (False, True):
        model = loaded("embedding", folder, without_dropout=2).double()
        if cached:
            model = shortened("embedding", folder, tmp_path, strategy, model, dtype=torch.float64).model
        task = tasks.task("embedding", folder, model)
        settings = {"mini_batch_size": 2} if name != "gist" else {}
        loss = plugins.load("objective", name)(**settings).build(model)
        batch = task.batches.batch(0, 0)
        found.append(gradients(replace(task, loss=loss), strategy.prepare(model, "embedding"), batch))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-11, atol=0)
    assert_equal_gradients(found[1][1], found[0][1])


UPPER: dict[Target, tuple[str, tuple[str, ...]]] = {
    "llm": (r".*layers\.[23]\..*_proj", ("layers.2.mlp.up_proj", "layers.3.mlp.up_proj")),
    "embedding": (r".*layer\.[23]\..*dense", ("layer.2.output.dense", "layer.3.output.dense")),
}
"""Layers of the two highest blocks of four, as `lora` and as `vital_parameters` name them."""
UPPER["rerank"] = UPPER["embedding"]


def upper_strategies(target: Target) -> dict[str, Strategy]:
    regex, ends = UPPER[target]
    fields = {
        "top_layers": {"layers": 2},
        "lora": {"target_modules": regex},
        "bottleneck_adapter": {"blocks": (-2, 3)},
        "vital_parameters": {"target_modules": ends, "share": 0.5},
    }
    return {name: plugins.load("strategy", name)(**values) for name, values in fields.items()}


@every_target
@pytest.mark.parametrize("name", ["top_layers", "lora", "bottleneck_adapter", "vital_parameters"])
@pytest.mark.parametrize("cached", [True, False])
def test_frozen_lower_blocks_build_no_graph(
    target: Target, name: str, cached: bool, folders: dict[Target, Path], tmp_path: Path
) -> None:
    folder, strategy = folders[target], upper_strategies(target)[name]
    model = loaded(target, folder)
    if cached:
        model = shortened(target, folder, tmp_path, strategy, model).model
    model = strategy.prepare(model, target).train()
    task = tasks.task(target, folder, loaded(target, folder))
    given: dict[int, list[Tensor]] = {place: [] for place in range(4)}
    for place, block in enumerate(block_list(model)[1]):
        block.register_forward_pre_hook(lambda _, args, place=place: given[place].append(args[0]))
        assert not getattr(block, "gradient_checkpointing", False)
    with counted(model) as products:
        loss = task.loss(model, task.batches.batch(0, 0))
    assert all(not states.requires_grad and states.grad_fn is None for place in (0, 1, 2) for states in given[place])
    assert all(states.requires_grad for states in given[3])
    assert given[2]
    assert any(products[:2]) != cached
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for block in list(block_list(model)[1])[:2] for p in block.parameters())


@every_target
def test_a_strategy_that_reaches_the_lowest_block_is_not_shortened(target: Target, folders: dict[Target, Path]) -> None:
    model = loaded(target, folders[target])
    _, ends = UPPER[target]
    whole = [
        top(4),
        top(5),  # more than there are, which `prepare` refuses
        plugins.load("strategy", "lora")(),
        plugins.load("strategy", "lora")(target_modules=(ends[0].rpartition(".")[2],)),
        plugins.load("strategy", "bottleneck_adapter")(),
        plugins.load("strategy", "bottleneck_adapter")(blocks=(0, 3)),
        plugins.load("strategy", "vital_parameters")(),
        plugins.load("strategy", "bias_only")(),
        plugins.load("strategy", "full")(),
    ]
    for strategy in whole:
        assert shortened_by([strategy], model, target, RUNTIME) is None, strategy


@pytest.mark.parametrize("count", [0, 4])
def test_nothing_to_look_up_is_nothing_shortened(count: int, folders: dict[Target, Path]) -> None:
    assert shorten(loaded("llm", folders["llm"]), count, RUNTIME) is None


def test_a_model_whose_blocks_share_more_than_hidden_states_stays_whole() -> None:
    """T5's first block makes the position bias of all."""
    config = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=4, num_heads=4)
    model = T5EncoderModel(config)
    assert shorten(model, 2, RUNTIME) is None
    assert not any("forward" in vars(module) for module in model.modules())


SIZE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
OTHERS: dict[str, Callable[[], Any]] = {
    "mpnet": lambda: MPNetConfig(**SIZE),  # gives a tuple, and has a table above the blocks that they all read
    "deberta": lambda: DebertaV2Config(**SIZE, relative_attention=True, position_buckets=4, norm_rel_ebd="layer_norm"),
    "roberta": lambda: RobertaConfig(**SIZE, pad_token_id=1),  # positions by the padding
    "modernbert": lambda: ModernBertConfig(**SIZE, pad_token_id=0),  # masks by an attribute of the block
    "qwen3": lambda: Qwen3Config(**SIZE, num_key_value_heads=2, head_dim=8),  # masks by the block's number
    "gpt2": lambda: GPT2Config(vocab_size=50, n_embd=32, n_layer=4, n_head=4, initializer_range=0.2),
    "bloom": lambda: BloomConfig(vocab_size=50, hidden_size=32, n_layer=4, n_head=4, initializer_range=0.2),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_models_too(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(OTHERS[name]()).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids, mask = torch.randint(3, 50, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    filler = model.config.pad_token_id or 0
    mask[1, 5:], ids[1, 5:] = 0, filler
    batch = {"input_ids": ids, "attention_mask": mask}
    expected = model(**batch)[0][mask.bool()]
    short = shorten(model, 2, RUNTIME)
    assert short is not None
    assert short.fill is not None
    short.fill(runs_of(batch), job(tmp_path))
    with counted(model) as products:
        found = model(**batch)[0][mask.bool()]
    assert products[:2] == [0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    top().prepare(model, "embedding")
    optimizer = torch.optim.SGD(trainable(model).values(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(ids, attention_mask=mask)[0][mask.bool()].square().mean().backward()
        optimizer.step()
    found, expected = (model.train(training)(**batch)[0][mask.bool()] for training in (True, False))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_lower_blocks_that_read_what_may_learn_are_not_looked_up() -> None:
    model = AutoModel.from_config(MPNetConfig(**SIZE))
    model.encoder.relative = nn.ModuleDict({"attention_bias": model.encoder.relative_attention_bias})
    del model.encoder.relative_attention_bias
    model.encoder.relative_attention_bias = lambda buckets: model.encoder.relative["attention_bias"](buckets)
    assert shorten(model, 2, RUNTIME) is None
    model.encoder.relative.requires_grad_(False)
    assert shorten(model, 2, RUNTIME) is not None


def test_a_copy_looks_up_too_and_shares_the_states(folders: dict[Target, Path], tmp_path: Path) -> None:
    folder = folders["embedding"]
    model = shortened("embedding", folder, tmp_path, top()).model
    task = tasks.task("embedding", folder, model)
    twin = copy.deepcopy(model).train()
    with counted(twin) as products, counted(model) as own:
        task.loss(twin, task.batches.batch(0, 0))
    assert products[:2] == [0, 0]
    assert products[3]
    assert own == [0, 0, 0, 0]


@plain_targets
def test_a_stage_trains_above_looked_up_blocks_and_writes_a_whole_model(
    target: Target, folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, stage = folders[target], embedding_stage if target == "embedding" else llm_stage
    products: list[list[int]] = []
    outputs: list[Tensor] = []

    def watched(model: nn.Module, task: Task, *rest: Any) -> Fitted:
        rising = iter(range(99))
        with counted(model) as counts:
            found = fit(model, replace(task, score=lambda _: float(next(rising))), *rest)
        products.append(list(counts))
        outputs.append(tasks.outputs(target, folder, found.model))
        return found

    monkeypatch.setattr(stage, "fit", watched)
    out = tmp_path / "out"
    (out / "work").mkdir(parents=True)
    common: dict[str, Any] = {"strategies": [{"top_layers": {"layers": 2}}], "batch_size": 4, "epochs": 4}
    last = (find_model(str(folder)), RUNTIME, job(out, 3))
    if target == "embedding":
        monkeypatch.setattr(stage, "DevScore", type("One", (), {"__init__": lambda *_: None, "__len__": lambda _: 1}))
        corpus: Any = SimpleNamespace(similar={})
        embedding_stage.build(EmbeddingConfig.model_validate(common), tasks.pairs(), [], corpus, *last)
    else:
        rows = tasks.examples(tasks.chat_renderer(folder))
        llm_stage.build(LLMConfig.model_validate(common), rows, [{"prompt": "x"}], *last)
    assert products[0][:2] == [0, 0]
    assert products[0][3]
    outcome = read_outcome(out, "key")
    assert outcome.tuned is not None
    tuned = load_encoder(outcome.tuned, RUNTIME) if target == "embedding" else load_causal_lm(outcome.tuned, RUNTIME)
    torch.testing.assert_close(tasks.outputs(target, folder, tuned), outputs[0], rtol=0, atol=1e-5)
    base = loaded(target, folder)
    assert bits(tuned).keys() == bits(base).keys()
    assert not torch.allclose(outputs[0], tasks.outputs(target, folder, base), atol=1e-3)
    assert not list(out.rglob("hidden-states-*"))


@every_target
def test_states_in_a_file_train_the_same_model_and_leave_no_file(
    target: Target, folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = fitted(target, folders[target], tmp_path / "memory")
    monkeypatch.setattr(HiddenStates.__init__, "__defaults__", (0,))
    in_file = fitted(target, folders[target], tmp_path / "file")
    assert same(bits(in_memory.model), bits(in_file.model))
    assert in_memory.history == in_file.history
    assert not list(tmp_path.rglob("hidden-states-*"))


def test_what_has_no_room_is_computed_each_time(
    folders: dict[Target, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And trains the same model but for rounding."""
    folder = folders["llm"]
    with_room = fitted("llm", folder, tmp_path / "all")
    monkeypatch.setattr(HiddenStates.__init__, "__defaults__", (0,))
    free = 2 * 100 * 32 * 4  # of which half is taken: room for a hundred tokens
    monkeypatch.setattr(hidden_states.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    without = fitted("llm", folder, tmp_path / "some")
    assert [e["loss"] for e in without.history[1:]] == pytest.approx(
        [e["loss"] for e in with_room.history[1:]], rel=1e-4
    )


def test_packed_examples_are_looked_up_one_by_one(folders: dict[Target, Path], tmp_path: Path) -> None:
    """Laid end to end in a row, with positions that begin anew and without a mask."""
    folder = folders["llm"]
    model = shortened("llm", folder, tmp_path, top()).model.train()
    runs = [found.columns[0] for found in training_runs("llm", folder, model)][:3]
    packed = {
        "input_ids": torch.tensor([[token for ids in runs for token in ids]]),
        "position_ids": torch.tensor([[place for ids in runs for place in range(len(ids))]]),
    }
    with torch.no_grad(), counted(model) as products:
        found = model(**packed, use_cache=False).logits[0]
    assert products[:2] == [0, 0]
    apart = [load_causal_lm(folder, RUNTIME)(torch.tensor([ids])).logits[0] for ids in runs]
    torch.testing.assert_close(found, torch.cat(apart), rtol=1e-4, atol=1e-4)


def test_texts_of_a_stage_are_all_filled_in(folders: dict[Target, Path]) -> None:
    """Queries and passages with their prompts, hard negatives too."""
    model = load_encoder(folders["embedding"], RUNTIME)
    rows = [replace(pair, negatives=("no answer", pair.passage)) for pair in tasks.pairs()]
    found = set(embedding_stage.runs_of_texts(model, rows))
    for text in ("no answer", *(text for pair in rows for text in (pair.query, pair.passage))):
        assert set(runs_of(features(model, [text], "passage"))) <= found


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_positions_that_go_by_the_batch_are_not_looked_up(kind: str, folders: dict[Target, Path]) -> None:
    model = tasks.load("llm", folders["llm"])
    assert shorten(model, 1, RUNTIME) is not None
    other = tasks.load("llm", folders["llm"])
    other.config.rope_parameters = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}
    assert shorten(other, 1, RUNTIME) is None
