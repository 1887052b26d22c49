"""Every backend gives the vectors of torch in float32, but for its rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from raglift import plugins
from raglift.errors import UserError
from raglift.models.backends import _base
from raglift.models.backends._base import Backend, GraphBackend
from raglift.models.encoder import Encoder, load_encoder
from tests.tasks import RUNTIME
from tests.tiny import SENTENCES, build_embedding, word_tokenizer

NAMES = plugins.names("encoding backend")
GRAPHS = [name for name in NAMES if isinstance(plugins.load("encoding backend", name), GraphBackend)]
TEXTS = [*SENTENCES, "", "short", " ".join(SENTENCES), "émigré 漢字 \U0001f600", SENTENCES[0]]


def named(name: str) -> Backend:
    """The backend, or the test is skipped where it is not installed."""
    backend: Backend = plugins.load("encoding backend", name)
    try:
        backend.check(RUNTIME)
    except UserError as error:
        pytest.skip(error.what)
    return backend


def apart(name: str) -> float:
    """How far the cosine of a text's two vectors may be from 1."""
    return 0.01 if name.endswith("int8") else 1e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    folder = build_embedding(tmp_path_factory.mktemp("model") / "model", prompts={"query": "?", "document": "it is: "})
    return load_encoder(folder, RUNTIME)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the backends leave the model's graphs, for each other and for the next test."""
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_torch_in_their_order(name: str, model: SentenceTransformer, graphs: Path) -> None:
    encoder = named(name).open(model, graphs, replace(RUNTIME, batch_tokens=120))
    told: list[int] = []
    found = encoder.encode(TEXTS, "passage", told.append)
    expected = Encoder(model, RUNTIME).encode(TEXTS, "passage")
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    assert (found * expected).sum(axis=1).min() > 1 - apart(name)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert sum(told) == len(TEXTS)
    assert len(told) > 1
    turned = encoder.encode(TEXTS[::-1], "passage")[::-1]
    assert (turned * found).sum(axis=1).min() > 1 - apart(name)
    assert encoder.encode([], "passage").shape == (0, 32)
    others = (found @ expected.T)[~np.eye(len(TEXTS), dtype=bool) & ~np.equal.outer(TEXTS, TEXTS)]
    assert others.max() < 1 - apart(name), "texts are told apart by more than the rounding"


@pytest.mark.parametrize("name", NAMES)
def test_queries_are_torchs(name: str, model: SentenceTransformer, graphs: Path) -> None:
    encoder = named(name).open(model, graphs, RUNTIME)
    assert np.array_equal(encoder.encode(TEXTS, "query"), Encoder(model, RUNTIME).encode(TEXTS, "query"))
    assert not np.allclose(encoder.encode(TEXTS, "query"), encoder.encode(TEXTS, "passage"), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_text_is_padded_with_does_not_matter(name: str, model: SentenceTransformer, graphs: Path) -> None:
    encoder = named(name).open(model, graphs, replace(RUNTIME, batch_tokens=100_000))
    alone = encoder.encode(["short"], "passage")[0]
    padded = encoder.encode(["short", " ".join(SENTENCES)], "passage")[0]
    assert alone @ padded > 1 - apart(name) / 10


@pytest.mark.parametrize("name", NAMES)
def test_one_encoder_serves_several_threads(name: str, model: SentenceTransformer, graphs: Path) -> None:
    encoder = named(name).open(model, graphs, replace(RUNTIME, batch_tokens=60))
    expected = encoder.encode(TEXTS, "passage")
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode(TEXTS, "passage"), range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_stays_as_it_is(name: str, model: SentenceTransformer, graphs: Path) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    half = replace(RUNTIME, dtype=torch.bfloat16)
    named(name).open(model, graphs, half).encode(TEXTS[:2], "passage")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_backends_describe_themselves_and_round_apart(name: str) -> None:
    backend: Backend = plugins.load("encoding backend", name)
    assert backend.name == name
    assert backend.about.endswith(".")
    of = {plugins.load("encoding backend", each).precision(RUNTIME) for each in NAMES}
    assert len(of) == len(NAMES)


def test_torchs_vectors_are_kept_by_number_format_and_device() -> None:
    backend: Backend = plugins.load("encoding backend", "torch")
    assert backend.precision(RUNTIME) == "torch.float32 cpu", "the caches of former versions go on"
    assert backend.precision(replace(RUNTIME, dtype=torch.bfloat16)) == "torch.bfloat16 cpu"


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_not_installed_is_said_with_what_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base, "find_spec", lambda module: None)
    backend: Backend = plugins.load("encoding backend", name)
    with pytest.raises(UserError) as caught:
        backend.check(RUNTIME)
    assert f"{name!r} is not installed" in caught.value.what
    assert caught.value.fix.startswith(f"pip install 'raglift[{name.partition('_')[0]}]'")
    plugins.load("encoding backend", "torch").check(RUNTIME)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_run_on_the_processor_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base, "find_spec", lambda module: module)
    gpu = replace(RUNTIME, device=torch.device("cuda"))
    with pytest.raises(UserError, match="runs on the processor alone"):
        plugins.load("encoding backend", name).check(gpu)
    plugins.load("encoding backend", "torch").check(gpu)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_model_that_is_no_transformer_is_refused(name: str, tmp_path: Path) -> None:
    static = StaticEmbedding(word_tokenizer().backend_tokenizer, embedding_dim=8)
    with pytest.raises(UserError, match=f"{name}' cannot compute this embedding model"):
        named(name).open(SentenceTransformer(modules=[static], device="cpu"), tmp_path / "graphs", RUNTIME)


def test_a_graph_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    written: list[Path] = []

    def stopped(file: Path) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    def whole(file: Path) -> None:
        written.append(file)
        file.write_text("whole")
        file.with_name("weights").write_text("beside it")

    with pytest.raises(KeyboardInterrupt):
        _base.whole_file(tmp_path / "deep" / "a.onnx", stopped)
    for _ in range(2):
        file = _base.whole_file(tmp_path / "deep" / "a.onnx", whole)
        assert file.read_text() == "whole"
        assert file.with_name("weights").exists()
    assert len(written) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("onnx", "import raglift, onnxruntime"),
        (
            "openvino",
            "from raglift.models.backends._openvino import library; print(library().Core().available_devices)",
        ),
    ],
)
def test_the_libraries_leave_no_trace_of_who_used_them(name: str, code: str, tmp_path: Path) -> None:
    named(name)
    kept = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=kept | home)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "an identifier of this machine was written"
