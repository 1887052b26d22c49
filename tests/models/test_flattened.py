"""Texts end to end in one row give what they give padded, and what cannot take them is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    Gemma2Config,
    Gemma2Model,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from raglift.models.encoder import Encoder, features, load_encoder
from raglift.models.flattened import flatten_inputs, flattened, part_of, rows_of, takes_flattened
from tests.tasks import RUNTIME
from tests.tiny import SENTENCES, build_embedding, word_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "vocab_size": len(word_tokenizer()),
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES, max_position_embeddings=64)),
    "xlm_roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES, max_position_embeddings=64)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=SIZES["vocab_size"], dim=32, hidden_dim=64, n_layers=2, n_heads=4)
    ),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, local_attention=8)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES, max_position_embeddings=64)),
    "llama": lambda: LlamaModel(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "mistral": lambda: MistralModel(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=5)),
    "gemma2": lambda: Gemma2Model(Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8)),
}


def built(name: str, folder: Path, pooling: str = "mean", **settings: Any) -> SentenceTransformer:
    torch.manual_seed(1)
    MODELS[name]().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    modules = [Transformer(str(folder), max_seq_length=48), Pooling(32, pooling, **settings)]
    return SentenceTransformer(modules=modules, device="cpu").train(False)


def gradients(model: SentenceTransformer, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    found = model(dict(batch))["sentence_embedding"]
    (found * torch.arange(32.0)).square().mean().backward()
    return found.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["bert", "xlm_roberta", "distilbert", "modernbert", "llama", "mistral"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", "lasttoken"])
def test_vectors_and_gradients_are_those_of_padded_texts(name: str, pooling: str, tmp_path: Path) -> None:
    model = built(name, tmp_path, pooling)
    batch = features(model, [*SENTENCES, "short"], "passage")
    expected, wanted = gradients(model, batch)
    assert flatten_inputs(model)
    assert takes_flattened(model)
    for given_ in (batch, flattened(model, batch)):  # padded texts are taken as before
        found, got = gradients(model, given_)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert got.keys() == wanted.keys()
        largest = max(float(value.abs().max()) for value in wanted.values())  # a key's bias has no gradient but noise
        for key, value in got.items():
            torch.testing.assert_close(value, wanted[key], rtol=1e-3, atol=1e-5 * largest)
    flat = flattened(model, batch)
    assert flat["input_ids"].shape == (1, int(batch["attention_mask"].sum()))
    assert flat["attention_mask"].flatten().tolist() == batch["attention_mask"].sum(1).tolist()


@pytest.mark.parametrize("name", ["mpnet", "gemma2"])
def test_a_model_that_wants_more_of_its_attention_stays_as_it_is(name: str, tmp_path: Path) -> None:
    model = built(name, tmp_path)
    before = model[0].model.config._attn_implementation
    assert not flatten_inputs(model)
    assert not takes_flattened(model)
    assert model[0].model.config._attn_implementation == before


def test_a_table_of_words_has_nothing_to_flatten() -> None:
    model = SentenceTransformer(modules=[StaticEmbedding(word_tokenizer()._tokenizer, embedding_dim=8)], device="cpu")
    assert not flatten_inputs(model)


def test_padding_on_the_left_and_prompts_that_do_not_count(tmp_path: Path) -> None:
    model = built("bert", tmp_path, include_prompt=False)
    assert flatten_inputs(model)
    batch = model.preprocess(list(SENTENCES), prompt="every ")
    expected = model(dict(batch))["sentence_embedding"]
    torch.testing.assert_close(model(flattened(model, batch))["sentence_embedding"], expected)
    model.tokenizer.padding_side = "left"
    turned = flattened(model, model.preprocess(list(SENTENCES), prompt="every "))
    assert not bool((batch["input_ids"] == model.preprocess(list(SENTENCES), prompt="every ")["input_ids"]).all())
    torch.testing.assert_close(model(turned)["sentence_embedding"], expected)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    model = load_encoder(build_embedding(tmp_path_factory.mktemp("flat") / "model"), RUNTIME).train(False)
    assert flatten_inputs(model)
    return model


@given(texts=st.lists(st.sampled_from([*SENTENCES, "short", ""]), min_size=1, max_size=6), data=st.data())
def test_a_part_of_a_batch_is_the_batch_of_its_texts(
    prepared: SentenceTransformer, texts: list[str], data: st.DataObject
) -> None:
    model = prepared
    start = data.draw(st.integers(0, len(texts) - 1))
    stop = data.draw(st.integers(start + 1, len(texts)))
    padded = features(model, texts, "query")
    for batch in (padded, flattened(model, padded)):
        assert rows_of(batch) == len(texts)
        part = part_of(batch, slice(start, stop))
        assert rows_of(part) == stop - start
        with torch.no_grad():
            expected = model(dict(batch))["sentence_embedding"][start:stop]
            torch.testing.assert_close(model(dict(part))["sentence_embedding"], expected)


def test_an_empty_row_keeps_its_batch_padded(prepared: SentenceTransformer) -> None:
    batch = {"input_ids": torch.tensor([[2, 3], [0, 0]]), "attention_mask": torch.tensor([[1, 1], [0, 0]])}
    assert flattened(prepared, batch) is batch


def test_a_saved_model_knows_nothing_of_it(prepared: SentenceTransformer, tmp_path: Path) -> None:
    prepared.save_pretrained(str(tmp_path), create_model_card=False)
    assert "raglift" not in "".join(file.read_text("utf-8") for file in tmp_path.rglob("*.json"))
    plain = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    assert plain[0].model.config._attn_implementation == "sdpa"
    found = Encoder(prepared, RUNTIME).encode(SENTENCES, "passage")
    torch.testing.assert_close(torch.from_numpy(found), plain.encode(list(SENTENCES), convert_to_tensor=True))
