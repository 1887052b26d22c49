"""The conversion on a full disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from raglift.errors import UserError
from raglift.models.find import find_model
from raglift.models.gguf import convert
from raglift.models.llm import load_tokenizer

FULL = "No space left on device (os error 28)"


@pytest.fixture
def gguf(tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is read as the tiny model."""

    def read(loader: Any) -> Any:
        load = loader.from_pretrained
        return lambda folder, gguf_file=None, **options: load(tiny_llm if gguf_file else folder, **options)

    for loader in (AutoModelForCausalLM, AutoTokenizer):
        monkeypatch.setattr(loader, "from_pretrained", read(loader))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")
    return path


def test_a_conversion_is_whole(gguf: Path, tmp_path: Path) -> None:
    convert(gguf, tmp_path / "cache" / "tiny")
    assert find_model(str(tmp_path / "cache" / "tiny")).path == tmp_path / "cache" / "tiny"
    assert load_tokenizer(tmp_path / "cache" / "tiny").chat_template
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [(LlamaForCausalLM, SafetensorError(FULL)), (PreTrainedTokenizerFast, OSError(28, FULL))],
)
def test_a_full_disk_is_said_and_nothing_is_left(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Any], error: Exception
) -> None:
    cache = tmp_path / "cache"
    save = kind.save_pretrained

    def fill(self: Any, folder: Path, **options: Any) -> None:
        save(self, folder, **options)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(kind, "save_pretrained", fill)
        with pytest.raises(UserError, match=f"The disk that holds {cache} is full") as caught:
            convert(gguf, cache / "tiny")
    assert caught.value.__cause__ is error
    assert not list(cache.iterdir())
    convert(gguf, cache / "tiny")
    assert [path.name for path in cache.iterdir()] == ["tiny"]
