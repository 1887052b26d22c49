"""Our vectors are sentence-transformers' own, whatever the batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit

from raglift.models.device import Runtime
from raglift.models.encoder import Encoder, Role, load_encoder, role_prompt
from raglift.models.find import find_model
from tests.tasks import RUNTIME
from tests.tiny import SENTENCES, build_embedding

TEXTS = [*SENTENCES, "", " ", "short", " ".join(SENTENCES), "émigré 漢字 \U0001f600", SENTENCES[0]]


def reference(folder: Path, texts: list[str], prompt: str | None = None) -> np.ndarray:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.asarray(model.encode(texts, normalize_embeddings=True, prompt=prompt))


@pytest.mark.parametrize("batch_tokens", [1, 48, 200, 100_000])
def test_vectors_equal_sentence_transformers(tiny_embedding: Path, batch_tokens: int) -> None:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), replace(RUNTIME, batch_tokens=batch_tokens))
    found = encoder.encode(TEXTS, "passage")
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 32)
    np.testing.assert_allclose(found, reference(tiny_embedding, TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.fixture(scope="module")
def encoder(tiny_embedding: Path) -> Encoder:
    return Encoder(load_encoder(tiny_embedding, RUNTIME), replace(RUNTIME, batch_tokens=100))


@settings(max_examples=25)
@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, 400))
def test_order_and_batches_do_not_matter(encoder: Encoder, order: list[int], size: int) -> None:
    expected = encoder.encode(TEXTS, "query")
    other = Encoder(encoder.model, replace(RUNTIME, batch_tokens=size))
    np.testing.assert_allclose(other.encode([TEXTS[row] for row in order], "query"), expected[order], atol=1e-5)


def test_nothing_in_nothing_out(encoder: Encoder) -> None:
    assert encoder.encode([], "query").shape == (0, 32)


def test_progress_counts_every_text(encoder: Encoder) -> None:
    counts: list[int] = []
    encoder.encode(TEXTS, "passage", counts.append)
    assert sum(counts) == len(TEXTS)
    assert len(counts) > 1


@pytest.mark.parametrize(
    ("prompts", "query", "passage"),
    [
        ({"query": "question ", "document": "every "}, "question ", "every "),
        ({"query": "question ", "passage": "every "}, "question ", "every "),
        ({"query": "question ", "document": "", "passage": "every "}, "question ", "every "),
        ({"query": "question "}, "question ", ""),
        (None, "", ""),
    ],
)
def test_the_models_own_prompts_are_put_before_the_texts(
    tmp_path: Path, prompts: dict[str, str] | None, query: str, passage: str
) -> None:
    folder = build_embedding(tmp_path / "model", prompts=prompts)
    encoder = Encoder(load_encoder(folder, RUNTIME), RUNTIME)
    roles: tuple[tuple[Role, str], ...] = (("query", query), ("passage", passage))
    for role, expected in roles:
        assert role_prompt(encoder.model, role) == expected
        np.testing.assert_allclose(
            encoder.encode(TEXTS, role), reference(folder, TEXTS, prompt=expected or None), atol=1e-5
        )


def test_a_text_that_stands_several_times_is_encoded_once(
    tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    seen: list[str] = []
    preprocess = encoder.model.preprocess
    monkeypatch.setattr(
        encoder.model, "preprocess", lambda texts, **more: seen.extend(texts) or preprocess(texts, **more)
    )
    counts: list[int] = []
    found = encoder.encode(["one", "two", "one", "one"], "passage", counts.append)
    assert sorted(seen) == ["one", "two"]
    assert sum(counts) == 4
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], found[3])
    assert not np.array_equal(found[0], found[1])


def test_blocks_and_sides_of_padding_do_not_matter(tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reference(tiny_embedding, TEXTS)
    monkeypatch.setattr("raglift.models.encoder._BLOCK", 3)
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    np.testing.assert_allclose(encoder.encode(TEXTS, "passage"), expected, atol=1e-5)
    # One text at a time has no padding left, on whichever side it was.
    alone = Encoder(encoder.model, replace(RUNTIME, batch_tokens=1))
    alone.model.tokenizer.padding_side = "left"
    np.testing.assert_allclose(alone.encode(TEXTS, "passage"), expected, atol=1e-5)


def test_another_precision_works_on_a_copy(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)
    half = Encoder(model, Runtime(RUNTIME.device, torch.bfloat16, 1))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    found = half.encode(TEXTS, "passage")
    assert found.dtype == np.float32
    exact = Encoder(model, RUNTIME).encode(TEXTS, "passage")
    assert not np.array_equal(found, exact)
    assert (found * exact).sum(axis=1).min() > 0.99


def test_a_model_saved_in_half_precision_is_loaded_in_full(tiny_embedding: Path, tmp_path: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME).to(torch.bfloat16)
    model.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    loaded = load_encoder(tmp_path / "half", RUNTIME)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.slow
def test_the_packaged_models_vectors_equal_sentence_transformers() -> None:
    found = find_model("all-MiniLM-L6-v2")
    encoder = Encoder(load_encoder(found.path, RUNTIME), replace(RUNTIME, batch_tokens=600))
    texts = [*TEXTS, " ".join(SENTENCES * 5)]
    np.testing.assert_allclose(encoder.encode(texts, "passage"), reference(found.path, texts), atol=1e-5)


def test_a_static_model_which_pads_nothing() -> None:
    words = sorted({word for text in TEXTS for word in text.lower().split()} | {"[UNK]"})
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), WhitespaceSplit()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        static = StaticEmbedding(tokenizer, embedding_dim=16)
    model = SentenceTransformer(modules=[static], device="cpu", prompts={"query": "short "})
    done: list[int] = []
    encoder = Encoder(model, RUNTIME)
    found = encoder.encode(TEXTS, "passage", done.append)
    assert found.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 16)
    assert sum(done) == len(TEXTS)
    np.testing.assert_allclose(found, model.encode(TEXTS, normalize_embeddings=True), atol=1e-6)
    queries = model.encode(TEXTS, normalize_embeddings=True, prompt_name="query")
    np.testing.assert_allclose(encoder.encode(TEXTS, "query"), queries, atol=1e-6)
    assert not np.allclose(found, queries, atol=1e-2)
