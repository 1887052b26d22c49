"""Any LlamaIndex language model as the writer: built from the configuration or passed, with an identity and no secrets.

The integration packages are extras, imported when the configuration names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from llama_index.core.llms import LLM

from raglift.config import SynthesisConfig, WriterConfig
from raglift.errors import UserError
from raglift.records import content_id

_SECRET = re.compile(r"key|token$|secret|passw|auth|credential|header|cookie|bearer", re.IGNORECASE)
_NOT_SECRET = re.compile(r"keep|keyword|prompt_key", re.IGNORECASE)
_HOW = {"timeout", "request_timeout", "max_retries", "reuse_client", "callback_manager", "num_workers", "keep_alive"}
"""Fields that decide how calls are made, not what is written."""
_WINDOW = 4096
"""Tokens that a prompt may take; ours are under a quarter of it."""
_OLLAMA = "http://localhost:11434"


@dataclass(frozen=True, slots=True)
class LLMWriter:
    """A language model that writes questions, one call at a time.

    Attributes:
        identity: What decides what it writes, hashed; part of the stage's key.
        name: How it is called in messages.
        secrets: Texts that no file and no message may hold.
    """

    llm: LLM
    settings: WriterConfig
    identity: str
    name: str
    secrets: tuple[str, ...]

    def redact(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def llm_writer(settings: SynthesisConfig, seed: int, given: LLM | None = None) -> LLMWriter | None:
    """The writer that the configuration names or the caller passes; None where `synthesis.model` is to write.

    Args:
        seed: Given to the server where `synthesis.temperature` is above 0.
        given: An `LLM` object, which takes the place of `synthesis.writer` with kind python.

    Raises:
        UserError: Both or neither are there, a package or a key is missing, or the object is no `LLM`.
    """
    config = settings.writer
    if given is None and config is None:
        return None
    if given is not None:
        return _passed(given, config)
    assert config is not None
    if config.kind == "python":
        raise UserError(
            "synthesis.writer.kind is python, and no writer was passed.",
            "Such a configuration is run from Python.",
            "Call raglift.run(config, writer=llm) with a LlamaIndex LLM.",
        )
    key = _key(config)
    llm = (
        _openai_like(config, key, settings, seed)
        if config.kind == "openai_like"
        else _ollama(config, key, settings, seed)
    )
    decides = config.model_dump(mode="json", include={"kind", "url", "model", "chat", "output_tokens"})
    return LLMWriter(
        llm,
        config,
        content_id("llm writer", decides, settings.temperature_or_default),
        f"{config.model} at {config.url or _OLLAMA}",
        (key,) if key else (),
    )


def _passed(llm: LLM, config: WriterConfig | None) -> LLMWriter:
    if not isinstance(llm, LLM):
        raise UserError(
            "The writer is not a LlamaIndex LLM.",
            f"It is a {type(llm).__name__}.",
            "Pass an instance of llama_index.core.llms.LLM, such as a CustomLLM of your own.",
        )
    if config is not None and config.kind != "python":
        raise UserError(
            "A writer was passed, and the configuration names another.",
            f"synthesis.writer.kind is {config.kind}.",
            "Take synthesis.writer out, or set its kind to python to keep its limits and prices.",
        )
    config = config or WriterConfig(kind="python")
    try:
        about = llm.metadata
    except Exception as error:  # such as a server that is asked for it and is not there
        raise UserError(f"The writer {type(llm).__name__} cannot say what it is.", type(error).__name__) from None
    name = f"{type(llm).__name__} {about.model_name}"
    return LLMWriter(
        llm, config, content_id("llm writer", identity(llm)), name, tuple(sorted(secrets(llm), key=len)[::-1])
    )


def identity(llm: LLM) -> dict[str, Any]:
    """Class, model name and settings of a language model, without secrets and without what only says how to call.

    Settings that have their default are left out, so that a release of the package that adds one changes nothing.
    """
    found = {}
    for name, field in type(llm).model_fields.items():
        if _is_secret(name) or name in _HOW or field.exclude:
            continue
        value = getattr(llm, name)
        if value != field.get_default(call_default_factory=True, validated_data={}):
            found[name] = _plain(value)
    return {"class": type(llm).__qualname__, "model": llm.metadata.model_name, "settings": found}


def secrets(llm: LLM) -> set[str]:
    """Texts in the fields of a language model that are named like a secret."""
    found: set[str] = set()
    for name in type(llm).model_fields:
        if _is_secret(name):
            found |= _texts(getattr(llm, name))
        elif isinstance(value := getattr(llm, name), Mapping):
            found |= {text for key, inner in value.items() if _is_secret(str(key)) for text in _texts(inner)}
    return {text for text in found if len(text) >= 6}


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not _NOT_SECRET.search(name)


def _texts(value: object) -> set[str]:
    if isinstance(value, str):
        return {value, *value.split()}  # "Bearer KEY" holds the key
    if isinstance(value, Mapping):
        return set().union(*(_texts(inner) for inner in value.values()))
    reveal = getattr(value, "get_secret_value", None)
    return _texts(reveal()) if callable(reveal) else set()


def _plain(value: Any) -> Any:
    """The value as JSON could hold it; what it could not is named by its class."""
    if isinstance(value, str):
        return _without_user(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in sorted(value.items()) if not _is_secret(str(key))}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return getattr(value, "__qualname__", type(value).__qualname__)


def _without_user(text: str) -> str:
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _key(config: WriterConfig) -> str | None:
    if config.key_env is None:
        return None
    key = os.environ.get(config.key_env, "").strip()
    if not key:
        raise UserError(
            f"The environment variable {config.key_env} is not set.",
            "synthesis.writer.key_env says that it holds the API key of the writer.",
            f"export {config.key_env}=... in the shell that runs raglift; the key never belongs in a file of the run.",
        )
    return key


def _openai_like(config: WriterConfig, key: str | None, settings: SynthesisConfig, seed: int) -> LLM:
    try:
        from llama_index.llms.openai_like import OpenAILike
    except ImportError as error:
        raise _missing("llama-index-llms-openai-like", "openai") from error
    # LlamaIndex would send OPENAI_API_KEY to any server if it were given no key at all.
    llm: LLM = OpenAILike(
        model=config.model or "",
        api_base=config.url,
        api_key=key or "none",
        is_chat_model=config.chat,
        context_window=_WINDOW + config.output_tokens,
        max_tokens=config.output_tokens,
        temperature=settings.temperature_or_default,
        additional_kwargs={"seed": seed} if settings.temperature_or_default else {},
        max_retries=0,
        timeout=config.timeout,
    )
    return llm


def _ollama(config: WriterConfig, key: str | None, settings: SynthesisConfig, seed: int) -> LLM:
    try:
        from llama_index.llms.ollama import Ollama
    except ImportError as error:
        raise _missing("llama-index-llms-ollama", "ollama") from error
    llm: LLM = Ollama(
        model=config.model or "",
        base_url=config.url or _OLLAMA,
        temperature=settings.temperature_or_default,
        context_window=_WINDOW + config.output_tokens,  # unset, Ollama is asked for it when the object is described
        request_timeout=config.timeout,
        additional_kwargs={"num_predict": config.output_tokens, "seed": seed},
        headers=_ollama_headers(key),
    )
    return llm


def _ollama_headers(key: str | None) -> dict[str, str] | None:
    if key is None and "OLLAMA_API_KEY" not in os.environ:
        return None
    # The ollama package would send OLLAMA_API_KEY to any server if it were given no key at all.
    return {"authorization": f"Bearer {key or 'none'}"}


def _missing(package: str, extra: str) -> UserError:
    return UserError(
        f"The package {package} is not installed.",
        f"synthesis.writer.kind needs it; it comes with raglift's extra {extra}.",
        f"pip install {package}",
    )
