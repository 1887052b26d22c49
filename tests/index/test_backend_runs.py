"""Runs whose passages a backend encodes: the index, its key, its update."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raglift import plugins
from raglift.errors import UserError
from raglift.index.backend import Choice, backend_named, read_choice
from raglift.models.device import Runtime
from raglift.models.encoder import Encoder
from raglift.records import Target
from raglift.serve.result import RunResult
from tests.index.test_backend import Stand, rounded
from tests.indexed_runs import index_config, indexed_run, write_texts
from tests.tasks import QUIET, RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

DOCUMENTS = {str(number): sentence for number, sentence in enumerate(SENTENCES)}
NEW = "The harbour wall was painted by a child in the spring."


@pytest.fixture
def config(tmp_path: Path, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    write_texts(tmp_path / "documents", DOCUMENTS)
    models: dict[Target, Path] = {"llm": tiny_llm, "embedding": tiny_embedding}
    return index_config(tmp_path / "documents", tmp_path / "indexes", models)


def built(config: dict[str, Any], backend: str, **runtime: Any) -> RunResult:
    changed = {"index": {"backend": backend}, "runtime": config["runtime"] | runtime, "run": backend}
    return indexed_run(config | changed)


def vectors(run: RunResult) -> np.ndarray:
    return np.asarray(run.store("base").vectors([chunk.id for chunk in run.corpus.chunks]))


def keys(run: RunResult) -> dict[str, str]:
    return {stage["name"]: stage["key"] for stage in run.state["stages"]}


@pytest.mark.parametrize("name", ["onnx_int8", "openvino_int8"])
def test_a_run_is_built_served_and_updated_with_its_backend(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    try:
        backend_named(name).check(RUNTIME)
    except UserError as error:
        pytest.skip(error.what)
    exact, run = built(config, "torch"), built(config, name)
    assert exact.backend("base") == Choice("torch", "named")
    choice = run.backend("base")
    assert (choice.backend, choice.why, choice.sample) == (name, "named", len({c.text for c in run.corpus.chunks}))
    assert choice.measured[0].texts_per_second is None
    assert run.backend("tuned") == choice, "the tuned index is a copy where the base won"
    changed = {stage for stage, key in keys(run).items() if keys(exact)[stage] != key}
    assert changed == {"index_base", "index_tuned", "fusion_base", "fusion_tuned"}
    cosines = (vectors(run) * vectors(exact)).sum(axis=1)
    assert cosines.min() > 0.99
    assert not np.array_equal(vectors(run), vectors(exact)), "the vectors are the backend's own"
    for question, _ in QUESTIONS:
        found, expected = ([hit.text for hit in each.retriever("base").retrieve(question)] for each in (run, exact))
        assert found[0] == expected[0]
    names = {path.name for path in run.artifact("index_base").path.iterdir()}
    assert names - {".lock"} == {"backend.json", "current.json", "index.json", "manifest.json", "v000001"}
    write_texts(tmp_path / "documents", {**DOCUMENTS, "new": NEW})
    account = run.update(display=QUIET)
    assert account.vectors.encoded == account.chunks.added > 0
    passages = run.models.passages("base", run.workspace / "vectors")
    new = [chunk.text for chunk in run._current.corpus.chunks if chunk.text in NEW]  # type: ignore[union-attr]
    assert new
    assert passages.cache(backend_named(name)).unknown(new) == []
    assert passages.cache(backend_named("torch")).unknown(new) == new, "torch's cache has none of its vectors"
    assert run.retriever("base").retrieve(NEW)[0].text in NEW


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A backend that is quick to open, in the place of onnx."""
    found, load = Stand("onnx", rounded), plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: found if name == "onnx" else load(kind, name))
    return found


def test_an_interrupted_index_goes_on_with_its_backend(
    stand: Stand, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raglift.index.encoding._BLOCK", 4)
    encode, blocks = Encoder.encode, []

    def stopping(self: Encoder, texts: Any, role: Any, advance: Any = lambda _: None) -> Any:
        blocks.append(len(texts))
        if len(texts) == 4 and blocks.count(4) == 2:
            raise KeyboardInterrupt
        return encode(self, texts, role, advance)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", stopping)
        with pytest.raises(KeyboardInterrupt):
            built(config, "onnx", vector_cache=False)
    [partial] = (tmp_path / "indexes" / "index_base").glob("*.partial")
    assert read_choice(partial / "work").backend == "onnx"
    opened = stand.opened
    resumed = built(config, "onnx", vector_cache=False)
    assert stand.opened == opened + 1, "it is not compared again"
    whole = built(config | {"workspace": str(tmp_path / "whole")}, "onnx", vector_cache=False)
    assert np.array_equal(vectors(resumed), vectors(whole))
    for path in (whole.artifact("index_base").path, resumed.artifact("index_base").path):
        assert json.loads((path / "backend.json").read_text("utf-8"))["backend"] == "onnx"


def test_another_run_encodes_nothing_that_the_backend_has_encoded(
    stand: Stand, config: dict[str, Any], tmp_path: Path
) -> None:
    first = built(config, "onnx")
    opened = stand.opened
    again = built({**config, "index": {}}, "onnx")
    assert keys(again) == keys(first)
    other = indexed_run(config | {"index": {"backend": "onnx", "recall": 0.5}, "run": "other"})
    assert keys(other)["index_base"] != keys(first)["index_base"]
    assert stand.opened == opened
    assert np.array_equal(vectors(other), vectors(first))


def test_a_backend_that_cannot_run_is_said_before_anything_is_written(
    stand: Stand, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(runtime: Runtime) -> None:
        raise UserError("It is not installed.")

    monkeypatch.setattr(stand, "check", missing)
    with pytest.raises(UserError, match="It is not installed"):
        built(config, "onnx")
    with pytest.raises(UserError, match=r"'onyx' is neither 'auto' nor an encoding backend \(did you mean 'onnx'\?\)"):
        built(config, "onyx")
    assert not (tmp_path / "indexes" / "runs").exists()
