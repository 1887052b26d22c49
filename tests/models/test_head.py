"""A head begins as the base, and what is saved gives in plain sentence-transformers what was trained."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

from raglift.models.encoder import Encoder, Role, features, load_encoder
from raglift.models.head import Head, Sides, put_on, take_off
from raglift.models.headed import HeadedEmbedding
from raglift.models.vectors import Vectors
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, build_embedding

ASKED = [question for question, _ in QUESTIONS]
every_head = pytest.mark.parametrize(("sides", "hidden"), [(s, h) for s in ("query", "both") for h in (None, 7)])


def learned(head: Head, seed: int = 3) -> Head:
    """The head with random weights in it, as if it had learned."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return head


@every_head
def test_a_head_begins_as_the_base(tiny_embedding: Path, sides: Sides, hidden: int | None) -> None:
    base = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    head = Head(32, sides, hidden)
    headed = Encoder(put_on(load_encoder(tiny_embedding, RUNTIME), head), RUNTIME)
    assert head.identity
    for role in ("query", "passage"):
        np.testing.assert_allclose(headed.encode(ASKED, role), base.encode(ASKED, role), atol=1e-6)  # type: ignore[arg-type]
    assert not learned(head).identity
    assert float(abs(headed.encode(ASKED, "query") - base.encode(ASKED, "query")).max()) > 0.01
    same = np.allclose(headed.encode(ASKED, "passage"), base.encode(ASKED, "passage"), atol=1e-6)
    assert same == (sides == "query")


@every_head
def test_plain_sentence_transformers_gives_the_same(
    tmp_path: Path, tiny_embedding: Path, sides: Sides, hidden: int | None
) -> None:
    model = put_on(load_encoder(tiny_embedding, RUNTIME), learned(Head(32, sides, hidden)))
    expected = {role: Encoder(model, RUNTIME).encode(SENTENCES, role) for role in ("query", "passage")}  # type: ignore[arg-type]
    model.extend(take_off(model).plain())
    model.save_pretrained(str(tmp_path), create_model_card=False)
    assert not list(tmp_path.rglob("*.bin"))
    plain = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True, trust_remote_code=False)
    assert "raglift" not in "".join(file.read_text() for file in tmp_path.rglob("*.json") if "token" not in file.name)
    np.testing.assert_allclose(plain.encode_query(list(SENTENCES)), expected["query"], atol=1e-5)
    np.testing.assert_allclose(plain.encode_document(list(SENTENCES)), expected["passage"], atol=1e-5)
    loaded = Encoder(load_encoder(tmp_path, RUNTIME), RUNTIME)
    assert loaded.dimension == 32
    for role in ("query", "passage"):
        np.testing.assert_allclose(loaded.encode(SENTENCES, role), expected[role], atol=1e-5)  # type: ignore[arg-type]


def test_in_half_precision_a_saved_head_stays_near(tmp_path: Path, tiny_embedding: Path) -> None:
    model = put_on(load_encoder(tiny_embedding, RUNTIME), learned(Head(32)))
    model.extend(take_off(model).plain())
    half = Encoder(model, replace(RUNTIME, dtype=torch.bfloat16)).encode(ASKED, "query")
    assert float((half * Encoder(model, RUNTIME).encode(ASKED, "query")).sum(1).min()) > 0.99


def test_the_two_layers_follow_the_equation() -> None:
    head = learned(Head(4, "both", 3))
    x = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    hidden = (x @ head.up.weight.T + head.up.bias).clamp(min=0)
    moved = x + head.gate * (hidden @ head.down.weight.T + head.down.bias)
    torch.testing.assert_close(head.moved(x), moved / moved.norm(dim=1, keepdim=True))


def test_a_base_without_normalisation_gets_one(tiny_embedding: Path) -> None:
    model = load_encoder(tiny_embedding, RUNTIME)
    del model[-1]
    put_on(model, Head(32))
    assert isinstance(model[-2], Normalize)
    length = model(features(model, ASKED, "query"))["sentence_embedding"].norm(dim=1)
    torch.testing.assert_close(length, torch.ones(len(ASKED)))


def test_every_text_is_encoded_once_in_each_role(tmp_path: Path) -> None:
    base = Encoder(load_encoder(build_embedding(tmp_path, prompts={"query": "ask: "}), RUNTIME), RUNTIME)
    asked: list[tuple[str, Role]] = []

    def encode(texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        asked.extend((text, role) for text in texts)
        return base.encode(texts, role)

    model = SentenceTransformer(modules=[Vectors(encode, base.dimension)], device="cpu")
    encoder = Encoder(model, RUNTIME)
    for _ in range(2):
        for role in ("query", "passage"):
            found = encoder.encode([*ASKED, ASKED[0]], role)  # type: ignore[arg-type]
            np.testing.assert_allclose(found, base.encode([*ASKED, ASKED[0]], role), atol=1e-6)  # type: ignore[arg-type]
    assert sorted(asked) == sorted((text, role) for text in ASKED for role in ("query", "passage"))


def test_a_batch_may_be_passed_twice(tiny_embedding: Path) -> None:
    base = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    model = SentenceTransformer(modules=[Vectors(base.encode, 32)], device="cpu")
    put_on(model, learned(Head(32)))
    batch = features(model, ASKED, "query")
    first = model(batch)["sentence_embedding"].detach().clone()
    assert torch.equal(model(batch)["sentence_embedding"], first)


class Letters(BaseEmbedding):
    """Stands for an embedding behind an API: counts letters, queries shifted; never of unit length."""

    asked: list[str] = []  # noqa: RUF012 (a pydantic field)

    def _vector(self, text: str, shift: int) -> list[float]:
        self.asked.append(text)
        return [float(text.lower().count(chr(97 + (i + shift) % 26))) + 0.1 for i in range(26)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query, 1)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query, 1)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text, 0)


@every_head
def test_a_llama_index_embedding_with_a_head(tmp_path: Path, sides: Sides, hidden: int | None) -> None:
    base = Letters(model_name="letters")
    headed = HeadedEmbedding(base, learned(Head(26, sides, hidden)))
    headed.save(tmp_path)
    again = HeadedEmbedding.load(base, tmp_path)
    for embedding in (headed, again):
        query = torch.tensor([base.get_query_embedding("Where?")])
        moved = embedding.head.moved(torch.nn.functional.normalize(query, dim=1))[0].tolist()
        assert embedding.get_query_embedding("Where?") == pytest.approx(moved, abs=1e-5)
        assert asyncio.run(embedding.aget_query_embedding("Where?")) == pytest.approx(moved, abs=1e-5)
        texts = embedding.get_text_embedding_batch(list(SENTENCES))
        assert texts[3] == pytest.approx(embedding.get_text_embedding(SENTENCES[3]), abs=1e-5)
        assert asyncio.run(embedding.aget_text_embedding_batch(list(SENTENCES))) == pytest.approx(
            np.array(texts), abs=1e-5
        )
        unit: Any = np.array(base.get_text_embedding(SENTENCES[3]))
        assert np.allclose(texts[3], unit / np.linalg.norm(unit), atol=1e-6) == (sides == "query")
    assert headed.model_name == "letters+head"
