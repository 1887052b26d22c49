"""Cross-encoders: a head above any encoder, and one path for training and serving."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import BertForSequenceClassification

from raglift.errors import UserError
from raglift.models.find import find_model
from raglift.models.reranker import CrossEncoderReranker, head, inner_head, is_cross_encoder, load_reranker
from tests.tasks import RUNTIME, bits, same
from tests.tiny import QUESTIONS, SENTENCES, word_tokenizer

PAIRS = [(question, SENTENCES[(row + step) % 8]) for row, (question, _) in enumerate(QUESTIONS) for step in (0, 3)]


def test_an_encoder_is_given_the_same_head_at_every_call(tiny_embedding: Path) -> None:
    torch.manual_seed(1)
    one, drawn = load_reranker(tiny_embedding, RUNTIME), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn), "what others draw must not change"
    two = load_reranker(tiny_embedding, RUNTIME)
    assert same(bits(one), bits(two))
    assert set(head(one)) == {"2.linear.weight", "2.linear.bias"}
    assert inner_head(one) == []
    assert one.num_labels == 1
    assert one.max_seq_length == 64, "as long as the model has positions, not as its texts were cut"
    encoder = SentenceTransformer(str(tiny_embedding), device="cpu")
    assert encoder.max_seq_length == 48
    inner = dict(encoder[0].named_parameters())
    assert all(torch.equal(value, inner[name.removeprefix("0.")]) for name, value in one[0].named_parameters("0"))


def test_a_new_head_is_saved_as_a_plain_folder(tiny_embedding: Path, tmp_path: Path) -> None:
    model = load_reranker(tiny_embedding, RUNTIME)
    with torch.no_grad():
        head(model)["2.linear.weight"].mul_(3)
    model.save_pretrained(str(tmp_path), create_model_card=False, safe_serialization=True)
    assert is_cross_encoder(tmp_path)
    assert not is_cross_encoder(tiny_embedding)
    plain = CrossEncoder(str(tmp_path), device="cpu", local_files_only=True)
    expected = plain.predict(PAIRS, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    np.testing.assert_allclose(CrossEncoderReranker(model, RUNTIME).scores(PAIRS), expected, atol=1e-5)
    np.testing.assert_allclose(
        CrossEncoderReranker(load_reranker(tmp_path, RUNTIME), RUNTIME).scores(PAIRS), expected, atol=1e-5
    )


def test_the_head_of_a_classifier_is_all_above_its_encoder(tiny_cross_encoder: Path, tiny_llm: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    assert inner_head(model) == ["classifier"]
    assert set(head(model)) == {"0.model.classifier.weight", "0.model.classifier.bias"}
    assert head(torch.nn.Linear(2, 2)) == {}


def test_a_transformers_folder_with_a_classifier_is_a_cross_encoder(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    inner = model[0].model
    assert isinstance(inner, BertForSequenceClassification)
    inner.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert is_cross_encoder(tmp_path)
    expected = CrossEncoderReranker(model, RUNTIME).scores(PAIRS)
    np.testing.assert_allclose(
        CrossEncoderReranker(load_reranker(tmp_path, RUNTIME), RUNTIME).scores(PAIRS), expected, atol=1e-6
    )


def test_a_classifier_of_several_labels_is_refused(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    inner = load_reranker(tiny_cross_encoder, RUNTIME)[0].model
    config = inner.config
    config.num_labels = 3
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="cannot re-order passages"):
        load_reranker(tmp_path, RUNTIME)


def test_what_has_no_transformer_is_refused(tmp_path: Path) -> None:
    SentenceTransformer(modules=[StaticEmbedding(word_tokenizer(), embedding_dim=8)], device="cpu").save_pretrained(
        str(tmp_path), create_model_card=False
    )
    with pytest.raises(UserError, match="cannot be made a reranker"):
        load_reranker(tmp_path, RUNTIME)


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_scores_do_not_depend_on_the_batches(tiny_cross_encoder: Path, batch_tokens: int) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    done: list[int] = []
    found = CrossEncoderReranker(model, replace(RUNTIME, batch_tokens=batch_tokens)).scores(PAIRS, done.append)
    expected = model.predict(PAIRS, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(done) == len(PAIRS)
    assert CrossEncoderReranker(model, RUNTIME).scores([]).shape == (0,)


def test_half_precision_orders_alike_and_leaves_the_model_alone(tiny_cross_encoder: Path) -> None:
    model = load_reranker(tiny_cross_encoder, RUNTIME)
    before = bits(model)
    half = CrossEncoderReranker(model, replace(RUNTIME, dtype=torch.bfloat16))
    np.testing.assert_allclose(half.scores(PAIRS), CrossEncoderReranker(model, RUNTIME).scores(PAIRS), atol=0.1)
    assert len({float(score) for score in half.scores(PAIRS)}) == len(PAIRS), "in eight bits some would be equal"
    assert same(bits(model), before)


def test_equal_scores_stay_in_the_first_stages_order(tiny_cross_encoder: Path) -> None:
    reranker = CrossEncoderReranker(load_reranker(tiny_cross_encoder, RUNTIME), RUNTIME)
    text_of = {"a": SENTENCES[0], "b": SENTENCES[1], "c": SENTENCES[0], "d": SENTENCES[2]}
    first = tuple((chunk_id, 1.0 - row) for row, chunk_id in enumerate("cabd"))
    found, nothing = reranker.rerank([(QUESTIONS[0][0], first), ("nothing found", ())], text_of)
    assert nothing == ()
    ids = [chunk_id for chunk_id, _ in found]
    assert ids.index("a") == ids.index("c") + 1
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    expected = dict(zip(text_of, reranker.scores([(QUESTIONS[0][0], text) for text in text_of.values()]), strict=True))
    assert dict(found) == pytest.approx({key: float(value) for key, value in expected.items()}, abs=1e-5)


def test_the_packaged_model_becomes_a_reranker() -> None:
    path = find_model("all-MiniLM-L6-v2").path
    assert not is_cross_encoder(path)
    assert json.loads((path / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"] == 256
    model = load_reranker(path, RUNTIME)
    assert (model.max_seq_length, model.num_labels) == (512, 1)
    assert model.preprocess([("a b", "c d")])["token_type_ids"].sum() > 0, "the two texts are told apart"
