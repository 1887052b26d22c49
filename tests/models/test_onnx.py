"""Models written as ONNX graphs give the vectors, and the answers, that they gave before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

from raglift.errors import UserError
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.head import Head, put_on, take_off
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, build_embedding

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from raglift.models import onnx

TEXTS = [*SENTENCES, *(question for question, _ in QUESTIONS), "x", SENTENCES[0] * 20]


def headed(folder: Path) -> Path:
    """A model with a learned head above the queries alone."""
    model = put_on(load_encoder(build_embedding(folder / "base"), RUNTIME), Head(32))
    with torch.no_grad():
        model[-1].change.weight.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
    head = take_off(model)
    model.extend(head.plain())
    model.save_pretrained(str(folder / "headed"), create_model_card=False)
    return folder / "headed"


@pytest.mark.parametrize("kind", ["prompts", "head"])
def test_the_graph_gives_the_models_vectors(kind: str, tmp_path: Path) -> None:
    prompts = {"query": "what of it: ", "document": "it says: "} if kind == "prompts" else None
    folder = headed(tmp_path) if kind == "head" else build_embedding(tmp_path / "model", prompts=prompts)
    onnx.export(folder, tmp_path / "onnx")
    files = {path.name for path in (tmp_path / "onnx").iterdir()}
    graphs = {"query.onnx", "passage.onnx"} if kind == "head" else {"model.onnx"}
    assert files == {*graphs, "tokenizer.json", "serving.json"}
    assert {path.name for path in tmp_path.iterdir()} & {"onnx.partial"} == set()
    written = onnx.OnnxEncoder(tmp_path / "onnx")
    model = SentenceTransformer(str(folder), device="cpu")
    for found, expected in (
        (written.encode(TEXTS, "query"), model.encode_query(TEXTS, normalize_embeddings=True)),
        (written.encode(TEXTS, "passage"), model.encode_document(TEXTS, normalize_embeddings=True)),
    ):
        assert found.shape == (len(TEXTS), 32)
        assert (found * expected).sum(axis=1).min() > 0.9999
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (written.encode(TEXTS, "query") * written.encode(TEXTS, "passage")).sum(axis=1).max() < 0.9999
    assert written.encode([], "query").shape[0] == 0


def test_nothing_is_written_over_and_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_embedding(tmp_path / "model")
    with pytest.raises(UserError, match="is there already"):
        onnx.export(folder, folder)
    encode = Encoder.encode

    def other(self: Encoder, *args: Any) -> Any:
        return encode(self, *args)[:, ::-1]

    monkeypatch.setattr(Encoder, "encode", other)
    with pytest.raises(UserError, match="other vectors than the model"):
        onnx.export(folder, tmp_path / "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_without_a_transformer_is_refused(tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from tests.tiny import word_tokenizer

    static = StaticEmbedding(word_tokenizer().backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path / "model"))
    with pytest.raises(UserError, match="cannot be written as ONNX"):
        onnx.export(tmp_path / "model", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_a_language_model_generates_the_same_with_transformers_own_exporter(tiny_llm: Path, tmp_path: Path) -> None:
    from transformers.exporters import ExportedModel, OnnxConfig, OnnxExporter

    model = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    sample = tokenizer(list(SENTENCES[:2]), return_tensors="pt", padding=True)
    exported = OnnxExporter().export(model, dict(sample), OnnxConfig(dynamic=True))
    exported.save_pretrained(tmp_path / "onnx")
    assert json.loads((tmp_path / "onnx" / "config.json").read_text("utf-8"))["model_type"] == "llama"
    inputs = tokenizer(SENTENCES[2], return_tensors="pt")
    found = ExportedModel.from_pretrained(tmp_path / "onnx", local_files_only=True)(**inputs).logits
    with torch.no_grad():
        torch.testing.assert_close(torch.as_tensor(found), model(**inputs).logits, rtol=0, atol=1e-3)
