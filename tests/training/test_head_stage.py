"""Training on looked-up vectors is training on the model, and a head is to be had for any LlamaIndex embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from torch import nn

import raglift
from raglift.config import EmbeddingConfig
from raglift.errors import UserError
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.headed import HeadedEmbedding
from raglift.records import Chunk, Evidence, QAPair
from raglift.strategies.embedding_head import EmbeddingHead
from raglift.training import embedding_stage, head_stage
from raglift.training.loop import fit
from raglift.training.outcome import read_outcome
from tests import tasks
from tests.fits import Killed, killing, settings_of
from tests.tasks import RUNTIME, bits, job
from tests.tiny import QUESTIONS, SENTENCES

COUNT = 60


@pytest.mark.parametrize("fields", [{}, {"sides": "both"}, {"layers": 2, "hidden": 8}])
def test_looked_up_vectors_train_the_same_head(fields: dict[str, Any], tiny_embedding: Path, tmp_path: Path) -> None:
    strategy = EmbeddingHead(**fields)
    loop = settings_of("embedding", learning_rate=5e-3)
    slow = load_encoder(tiny_embedding, RUNTIME)
    for module in slow.modules():
        if isinstance(module, nn.Dropout):  # what is looked up was computed without
            module.p = 0.0
    whole = fit(slow, tasks.task("embedding", tiny_embedding, slow), [strategy], loop, RUNTIME, job(tmp_path / "slow"))
    shortened = strategy.shortened(load_encoder(tiny_embedding, RUNTIME), "embedding", RUNTIME)
    task = tasks.task("embedding", tiny_embedding, shortened.model)
    short = fit(shortened.model, task, [strategy], loop, RUNTIME, job(tmp_path / "short"))
    assert [entry["dev"] for entry in short.history] == pytest.approx([e["dev"] for e in whole.history], abs=1e-4)
    both = [strategy.finish(whole.model), strategy.finish(shortened.whole(short.model))]
    left, right = (bits(model) for model in both)
    assert left.keys() == right.keys()
    assert len(left) > len(bits(load_encoder(tiny_embedding, RUNTIME)))
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=0, atol=2e-3)


def questions(split: Any, rows: range) -> list[QAPair]:
    return [
        QAPair(f"{split}{row}", QUESTIONS[row][0], ("x",), (Evidence(f"d{row}", f"c{row}"),), "factoid", split, "human")
        for row in rows
    ]


class Counted(nn.Module):
    """A module that says how many rows it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return (
            super().__getattr__(name) if name in ("inner", "_modules") else getattr(super().__getattr__("inner"), name)
        )

    def forward(self, features: dict[str, Any], **kwargs: Any) -> Any:
        self.rows += len(features["input_ids"])
        return self.inner(features, **kwargs)


def test_the_stage_runs_the_base_once_a_text(
    tiny_embedding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Any] = []

    def counting(*args: Any) -> SentenceTransformer:
        model = load_encoder(*args)
        model[0] = Counted(model[0])
        models.append(model)
        return model

    monkeypatch.setattr(embedding_stage, "load_encoder", counting)
    chunks = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate(SENTENCES)]
    corpus: Any = SimpleNamespace(chunks=chunks, similar={})
    config = EmbeddingConfig.model_validate({"strategies": ["embedding_head"], "batch_size": 4, "epochs": 6})
    base = find_model(str(tiny_embedding))
    (tmp_path / "work").mkdir()
    embedding_stage.build(
        config, tasks.pairs()[:6], [questions("dev", range(6, 8))], corpus, base, RUNTIME, job(tmp_path)
    )
    assert models[0][0].rows == 6 + len(SENTENCES) + 2  # the questions, the chunks, the development questions
    assert read_outcome(tmp_path, "key").record.same_passages


def test_only_a_head_on_the_queries_keeps_the_passages() -> None:
    assert EmbeddingHead().keeps_passages
    assert not EmbeddingHead(sides="both").keeps_passages


class Remote(BaseEmbedding):
    """Stands for an embedding behind an API: random vectors, questions turned away from their passages alike."""

    calls: list[str] = []  # noqa: RUF012 (a pydantic field)

    def _vector(self, text: str) -> NDArray[np.float64]:
        number = int(text.split()[1])
        return np.random.default_rng(number).normal(size=8)

    def _get_query_embedding(self, query: str) -> list[float]:
        self.calls.append(query)
        turn = np.linalg.qr(np.random.default_rng(999).normal(size=(8, 8)))[0]
        vector: list[float] = (3 * (self._vector(query) @ (np.eye(8) + 1.5 * turn))).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        self.calls.append(text)
        vector: list[float] = self._vector(text).tolist()
        return vector


PAIRS = [(f"question {row}", f"passage {row}") for row in range(COUNT)]


def tuned(embedding: BaseEmbedding, pairs: Sequence[tuple[str, str]] = PAIRS, **more: Any) -> HeadedEmbedding:
    usual: dict[str, Any] = {"epochs": 40, "learning_rate": 1e-2, "quiet": True}
    return raglift.tune_head(embedding, pairs, **(usual | more))


@pytest.mark.parametrize("head", [{}, {"layers": 2}])
def test_a_head_is_learned_from_vectors_alone(head: dict[str, Any]) -> None:
    remote = Remote(calls=[])
    headed = tuned(remote, head=head)
    assert sorted(remote.calls) == sorted(text for pair in PAIRS for text in pair)  # each once
    assert max(headed.dev.values()) > headed.dev["base"] + 0.1
    fresh = [(f"question {row}", f"passage {row}") for row in range(100, 140)]
    passages = np.array(headed.get_text_embedding_batch([passage for _, passage in fresh]))
    asked = np.array([headed.get_query_embedding(question) for question, _ in fresh])
    plain = np.array([remote.get_query_embedding(question) for question, _ in fresh])

    def first(vectors: NDArray[Any]) -> float:
        return float(((vectors @ passages.T).argmax(1) == np.arange(40)).mean())

    assert first(asked) > first(plain)


def test_where_nothing_beats_the_base_the_head_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_stage.DevScore, "__call__", lambda *_: 0.5)
    headed = tuned(Remote(calls=[]))
    assert headed.head.identity
    unit = np.array(Remote().get_query_embedding("question 1"))
    assert headed.get_query_embedding("question 1") == pytest.approx(unit / np.linalg.norm(unit), abs=1e-6)


def test_a_call_that_was_cut_off_goes_on_and_pays_for_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned(Remote(calls=[]), folder=tmp_path / "whole")
    monkeypatch.setattr(head_stage, "RUNTIME", replace(head_stage.RUNTIME, checkpoint_seconds=0.0))
    with monkeypatch.context() as patch:
        patch.setattr(head_stage, "fit", lambda model, task, *rest: fit(model, killing(task, loss_at=31), *rest))
        with pytest.raises(Killed):
            tuned(Remote(calls=[]), folder=tmp_path / "cut")
    remote = Remote(calls=[])
    resumed = tuned(remote, folder=tmp_path / "cut")
    assert remote.calls == []
    assert resumed.dev == whole.dev
    assert tasks.same(bits(resumed.head), bits(whole.head))
    loaded = HeadedEmbedding.load(remote, tmp_path / "cut")
    assert tasks.same(bits(loaded.head), bits(whole.head))
    again = tuned(remote, folder=tmp_path / "cut", learning_rate=5e-3)  # other settings are another training
    assert not tasks.same(bits(again.head), bits(whole.head))


def test_held_out_pairs_share_no_passage_and_no_question() -> None:
    pairs = [*PAIRS, ("question 3", "passage 40"), ("Question  40", "passage 3")]
    for seed in range(20):
        train, held = head_stage._held_out(pairs, seed)
        assert held
        assert not {passage for _, passage in train} & {passage for _, passage in held}
        assert not {q.lower().split()[1] for q, _ in train} & {q.lower().split()[1] for q, _ in held}


def test_ndcg_of_development_pairs() -> None:
    passages = [f"passage {row}" for row in range(4)]
    score = head_stage.DevScore([("question 0", "passage 0"), ("question 0", "passage 2")], passages)
    table = {"question 0": [0.6, 0.8], "passage 0": [0.6, 0.8], "passage 1": [0.7, 0.7], "passage 2": [1.0, 0.0]}
    table["passage 3"] = [-1.0, 0.0]

    def encode(texts: Sequence[str], role: str) -> NDArray[np.float32]:
        found = np.array([table[text] for text in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    model = SentenceTransformer(modules=[head_stage.Vectors(encode, 2)], device="cpu")  # type: ignore[arg-type]
    # Ranks 1 and 3 of the two right ones: (1 + 1/2) / (1 + 1/log2 3).
    assert score(model) == pytest.approx(1.5 / (1 + 1 / np.log2(3)))


@pytest.mark.parametrize("pairs", [[], PAIRS[:1], [("question 1", "passage 1"), ("question 2", "passage 2")]])
def test_too_little_is_said(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError, match="too little"):
        tuned(Remote(calls=[]), pairs)


def test_a_wrong_setting_is_said() -> None:
    with pytest.raises(ValidationError):
        tuned(Remote(calls=[]), epoch=3)


@pytest.mark.parametrize("settings", [{"sweep": [1e-3, 1e-4]}, {"learning_curve": True}])
def test_several_trainings_are_for_runs(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="trains one head"):
        tuned(Remote(calls=[]), **settings)


def test_an_encoder_of_the_run_takes_a_head_too(tiny_embedding: Path) -> None:
    from raglift.models.embedding import LiftEmbedding

    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    embedding = LiftEmbedding(encoder, "tiny", tiny_embedding)
    pairs = [(question, SENTENCES[row]) for row, (question, _) in enumerate(QUESTIONS)]
    headed = tuned(embedding, pairs[:6], dev=pairs[6:], passages=SENTENCES, epochs=3)
    assert set(headed.dev) >= {"base", "mix 0.5"}
    assert len(headed.get_query_embedding("Where?")) == 32
