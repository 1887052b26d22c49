"""An HTTP endpoint with the OpenAI chat interface as a LlamaIndex query engine."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import CustomQueryEngine
from pydantic import Field, SecretStr
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from raglift.assess.replies import HopelessError
from raglift.errors import UserError
from raglift.evaluation.scale import TOKENS_IN, TOKENS_OUT
from raglift.synthesis.llm_calls import backoff, is_transient, status, usage_of

_HOPELESS = {401: "Check the API key.", 403: "Check what the API key may do.", 404: "Check the URL and the model."}
_EMPTY = 402


class EndpointError(Exception):
    """One question got no answer; the message holds no secret."""


class EndpointEngine(CustomQueryEngine):
    """Puts each question to the endpoint as one message of a chat; what it retrieves, if anything, is not seen.

    Example:
        >>> engine = connect("http://localhost:8000/v1", "my-rag", key_env="MY_RAG_KEY")
        >>> print(raglift.evaluate({"mine": engine}, "questions.jsonl"))
    """

    llm: Any = Field(repr=False, exclude=True)  # it shows its key
    key: SecretStr
    retries: int
    system: str = ""

    def custom_query(self, query_str: str) -> Response:
        """The answer.

        Raises:
            EndpointError: It has none to this question, also not after `retries` more attempts.
            HopelessError: It will have none to any other: the key or the address is refused.
        """
        messages = [ChatMessage(role=MessageRole.SYSTEM, content=self.system)] if self.system else []
        messages.append(ChatMessage(role=MessageRole.USER, content=query_str))
        retrying = Retrying(
            stop=stop_after_attempt(self.retries + 1),
            wait=backoff,
            retry=retry_if_exception(is_transient),
            reraise=True,
        )
        try:
            reply = retrying(self.llm.chat, messages)
        except Exception as error:
            failed = self._failure(error)
        else:
            if reply.message.content:
                return Response(response=self._redacted(reply.message.content), metadata=_tokens(reply))
            failed = EndpointError("the endpoint sent no text")
        # Raised out here, so that the library's error, which may quote the request, hangs on none of ours.
        raise failed

    def _failure(self, error: Exception) -> Exception:
        told = self._redacted(" ".join(str(error).split()))[:300]
        number = status(error)
        if number in _HOPELESS or number == _EMPTY:
            fix = _HOPELESS.get(number or 0, "The account has nothing left to spend: top it up.")
            return HopelessError("The endpoint refuses to answer.", told, f"{fix} What it has answered is kept.")
        return EndpointError(f"{type(error).__name__}: {told}")

    def _redacted(self, text: str) -> str:
        key = self.key.get_secret_value()
        return text.replace(key, "***") if key else text


def _tokens(reply: ChatResponse) -> dict[str, int]:
    usage = usage_of(reply)
    return {} if usage is None else {TOKENS_IN: usage.tokens_in, TOKENS_OUT: usage.tokens_out}


def connect(
    url: str,
    model: str,
    *,
    key_env: str | None = None,
    system: str = "",
    timeout: float = 60.0,
    retries: int = 4,
    max_tokens: int = 512,
) -> EndpointEngine:
    """A query engine behind an OpenAI-compatible endpoint (`URL/chat/completions`).

    Args:
        url: Such as http://localhost:8000/v1.
        key_env: The environment variable that holds the API key; None: no key is sent.
        system: A system message before every question.
        timeout: Seconds for one attempt.
        retries: Further attempts at what may pass: rate limits, time-outs, errors of the server.
        max_tokens: The longest answer.

    Raises:
        UserError: The URL is none, the variable is not set, or the package is missing.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(f"{url!r} is no address.", fix="Give one such as http://localhost:8000/v1.")
    key = os.environ.get(key_env, "").strip() if key_env else ""
    if key_env and not key:
        raise UserError(
            f"The environment variable {key_env} is not set.",
            "It is to hold the API key of the endpoint.",
            f"export {key_env}=... in the shell that runs raglift; the key never belongs in a file or a command.",
        )
    try:
        from llama_index.llms.openai_like import OpenAILike
    except ImportError as error:
        raise UserError(
            "The package llama-index-llms-openai-like is not installed.",
            "It speaks to endpoints; it comes with raglift's extra openai.",
            "pip install llama-index-llms-openai-like",
        ) from error
    # LlamaIndex would send OPENAI_API_KEY to any server if it were given no key at all.
    llm = OpenAILike(
        model=model,
        api_base=url,
        api_key=key or "none",
        is_chat_model=True,
        temperature=0.0,
        max_tokens=max_tokens,
        max_retries=0,
        timeout=timeout,
    )
    return EndpointEngine(llm=llm, key=SecretStr(key), retries=retries, system=system)
