from __future__ import annotations

import builtins
from typing import Any

import pytest
from llama_index.core.llms import LLM, CompletionResponse, CustomLLM, LLMMetadata, MockLLM
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import Field

from raglift.config import SynthesisConfig, WriterConfig
from raglift.errors import UserError
from raglift.synthesis.llm_build import LLMWriter, identity, llm_writer, secrets

KEY = "sk-very-secret-1234"
SERVER = WriterConfig(kind="openai_like", url="http://localhost:1/v1", model="m", key_env="SOME_KEY")


class Own(CustomLLM):
    """A language model of the user's."""

    weights: str = "small"
    service_token: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="own")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="?")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


def build(config: WriterConfig | None, given: LLM | None = None, **settings: Any) -> LLMWriter:
    writer = llm_writer(SynthesisConfig(writer=config, **settings), 7, given)
    assert writer is not None
    return writer


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)


def test_the_local_model_writes_unless_another_is_named() -> None:
    assert llm_writer(SynthesisConfig(), 0) is None


def test_an_openai_compatible_server() -> None:
    writer = build(SERVER, temperature=0.5)
    assert isinstance(writer.llm, OpenAILike)
    assert writer.llm.api_key == KEY
    assert writer.llm.api_base == "http://localhost:1/v1"
    assert (writer.llm.max_tokens, writer.llm.temperature, writer.llm.max_retries) == (256, 0.5, 0)
    assert writer.llm.additional_kwargs == {"seed": 7}
    assert writer.llm.metadata.is_chat_model
    assert writer.redact(f"Bearer {KEY}!") == "Bearer ***!"
    assert KEY not in repr(writer.identity) + writer.name


def test_ollama_is_not_asked_for_anything_before_it_writes() -> None:
    writer = build(WriterConfig(kind="ollama", model="qwen", key_env="SOME_KEY"))
    assert isinstance(writer.llm, Ollama)
    assert writer.llm.base_url == "http://localhost:11434"
    assert writer.llm.headers == {"authorization": f"Bearer {KEY}"}
    assert writer.llm.metadata.context_window > 4096
    assert writer.secrets == (KEY,)


def test_the_keys_of_other_services_are_sent_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    openai = build(SERVER.model_copy(update={"key_env": None})).llm
    assert isinstance(openai, OpenAILike)
    assert openai._get_aclient().api_key == "none"
    ollama = build(WriterConfig(kind="ollama", model="qwen")).llm
    assert isinstance(ollama, Ollama)
    assert KEY not in str(ollama.async_client._client.headers)


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_key_that_is_not_set(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("SOME_KEY") if value is None else monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(UserError, match="SOME_KEY is not set"):
        build(SERVER)


@pytest.mark.parametrize("kind", ["openai_like", "ollama"])
def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    real = builtins.__import__

    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("llama_index.llms"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(UserError, match="is not installed") as caught:
        build(SERVER.model_copy(update={"kind": kind}))
    assert caught.value.fix == f"pip install llama-index-llms-{kind.replace('_', '-')}"


def test_what_is_written_decides_the_identity_and_how_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one = build(SERVER).identity
    for change in (
        {"concurrency": 9, "timeout": 1.0, "retries": 0},
        {"price_in": 1.0, "price_out": 2.0, "max_money": 5.0, "max_tokens": 10},
        {"key_env": None},
    ):
        assert build(SERVER.model_copy(update=change)).identity == one
    for change in ({"model": "n"}, {"url": "http://localhost:2/v1"}, {"chat": False}, {"output_tokens": 99}):
        assert build(SERVER.model_copy(update=change)).identity != one
    assert build(SERVER, temperature=0.1).identity != one
    monkeypatch.setenv("SOME_KEY", "another-key")
    assert build(SERVER).identity == one


def test_the_identity_of_an_object() -> None:
    one = build(None, Own()).identity
    assert build(None, Own()).identity == one
    assert (
        build(None, Own(service_token=KEY, options={"api_key": KEY})).identity
        != build(None, Own(weights="big")).identity
    )
    assert build(None, Own(service_token=KEY)).identity == one
    assert build(None, Own(weights="big")).identity != one
    assert build(None, Own(options={"top_k": 3})).identity != one
    assert build(None, MockLLM()).identity != one
    assert identity(Own(weights="big")) == {"class": "Own", "model": "own", "settings": {"weights": "big"}}


def test_secrets_of_an_object_are_found_and_left_out() -> None:
    llm = OpenAILike(
        model="m",
        api_base=f"http://user:{KEY}x@localhost:1/v1",
        api_key=KEY,
        default_headers={"Authorization": f"Bearer {KEY}2"},
        additional_kwargs={"extra_headers": {"X-Api-Key": KEY + "3"}, "top_p": 0.5},
        timeout=3.0,
    )
    assert {KEY, KEY + "2", KEY + "3"} <= secrets(llm)
    assert KEY not in str(identity(llm))
    assert identity(llm)["settings"]["additional_kwargs"] == {"top_p": 0.5}
    assert identity(llm)["settings"]["api_base"] == "http://localhost:1/v1"
    writer = build(None, llm)
    assert "1234" not in writer.redact(f"{KEY} {KEY}2 {KEY}3")


def test_an_object_and_the_config() -> None:
    limits = WriterConfig(kind="python", max_tokens=10)
    assert build(limits, Own()).settings is limits
    assert build(None, Own()).settings == WriterConfig(kind="python")
    with pytest.raises(UserError, match="the configuration names another"):
        build(SERVER, Own())
    with pytest.raises(UserError, match="no writer was passed"):
        build(limits)
    with pytest.raises(UserError, match="is not a LlamaIndex LLM"):
        build(None, "gpt")  # type: ignore[arg-type]
