"""One call to a language model: time-out, retries of what may pass, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from raglift.errors import UserError
from raglift.synthesis.budget import Usage
from raglift.synthesis.llm_build import LLMWriter

FIRST_WAIT = 1.0
"""Seconds before the second attempt, doubled at every further one; up to as much again is added by chance."""
_LONGEST_WAIT = 60.0
_PASSING = {408, 409, 425, 429}
_REFUSED = {400, 413, 422}
"""The server will not take this prompt; another one it may."""
_EMPTY_ACCOUNT = ("insufficient_quota", "billing_hard_limit_reached", "credit balance is too low")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `cut` where the model ran into the limit of its reply."""

    text: str
    usage: Usage
    cut: bool


class RefusedError(Exception):
    """The server refused this prompt and may take others."""


class Caller:
    """Calls the language model.

    Args:
        count: Tokens of a text, for servers that do not say.
        warn: Told of the first attempt that failed and is repeated.
    """

    def __init__(
        self,
        writer: LLMWriter,
        count: Callable[[str], int],
        warn: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._count = count
        self._warn = warn
        self._warned = False
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(writer.settings.retries + 1),
            wait=backoff,
            retry=retry_if_exception(is_transient),
            before_sleep=self._again,
            reraise=True,
        )

    async def call(self, prompt: str, lost: Callable[[], None]) -> Reply:
        """The reply to `prompt`.

        Args:
            lost: Told of every attempt that timed out or was cancelled, whose cost nobody knows.

        Raises:
            RefusedError: The server does not take this prompt.
            UserError: The call failed for good; the message holds no secret.
        """
        try:
            response: CompletionResponse = await self._retrying.copy()(self._attempt, prompt, lost)
        except Exception as error:
            failed = self._failure(error)
        else:
            return self._reply(prompt, response)
        # Raised out here, so that the library's error, which may quote the request, hangs on none of ours.
        raise failed

    async def _attempt(self, prompt: str, lost: Callable[[], None]) -> CompletionResponse:
        try:
            return await asyncio.wait_for(self._writer.llm.acomplete(prompt), self._writer.settings.timeout)
        except asyncio.CancelledError:  # Ctrl-C: the server may go on writing
            lost()
            raise
        except Exception as error:
            if _timed_out(error):
                lost()
            raise

    def _again(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and not self._warned:
            self._warned = True
            self._warn(f"{self._writer.name}: {self._told(error)}; such calls are repeated, ever more slowly")

    def _told(self, error: BaseException) -> str:
        text = " ".join(self._writer.redact(str(error)).split())
        return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, UserError):
            return error
        told, number = self._told(error), status(error)
        empty = _empty_account(error)
        if number in _REFUSED and not empty:
            return RefusedError(told)
        kept = "What is written is kept: the same command goes on from there."
        if is_transient(error):
            times = self._writer.settings.retries + 1
            fix = (
                "Run the same command again later, or raise synthesis.writer.retries or timeout, or lower concurrency."
            )
            return UserError(f"{self._writer.name} does not answer, after {times} attempts.", told, f"{fix} {kept}")
        fix = {
            401: "Check the API key in the variable that synthesis.writer.key_env names.",
            403: "Check what the API key may do.",
            404: "Check synthesis.writer.url and model.",
        }.get(number or 0, "Mend what it says.")
        if empty:
            fix = "The account has nothing left to spend: top it up."
        return UserError(f"{self._writer.name} failed.", told, f"{fix} {kept}")

    def _reply(self, prompt: str, response: CompletionResponse) -> Reply:
        text = self._writer.redact(response.text or "")
        usage = usage_of(response) or Usage(self._count(prompt), self._count(text))
        return Reply(text, usage, _was_cut(response.raw))


def backoff(state: RetryCallState) -> float:
    """Seconds before the next attempt: doubled every time, at least what the server asks for, at most a minute."""
    # Made at every call, as tests shorten the wait.
    waited = (wait_exponential(multiplier=FIRST_WAIT, max=_LONGEST_WAIT) + wait_random(0, FIRST_WAIT))(state)
    error = state.outcome.exception() if state.outcome else None
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        asked = float(headers.get("retry-after") or 0)
    except (TypeError, ValueError):  # a date
        asked = 0.0
    return max(waited, min(asked, _LONGEST_WAIT))


def status(error: BaseException) -> int | None:
    """The HTTP status that an error of any client library carries."""
    places = (error, getattr(error, "response", None))
    for place in places:
        for name in ("status_code", "status", "code"):
            value = getattr(place, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__
    return found


def _empty_account(error: BaseException) -> bool:
    """Whether a server says, under whatever status it likes, that there is nothing left to spend."""
    said, number = str(error).lower(), status(error)
    return number == 402 or (number in (400, 403, 429) and any(sign in said for sign in _EMPTY_ACCOUNT))


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: rate limits, time-outs, lost connections, errors of the server."""
    number = status(error)
    if number is not None:
        if _empty_account(error):
            return False
        return number in _PASSING or number >= 500
    return any(isinstance(e, TimeoutError | ConnectionError | httpx.TransportError) for e in _chain(error))


def _timed_out(error: BaseException) -> bool:
    return status(error) is None and any(
        isinstance(e, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout) for e in _chain(error)
    )


def _get(place: Any, *names: str) -> Any:
    for name in names:
        value = place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)
        if value is not None:
            return value
    return None


def usage_of(response: CompletionResponse | ChatResponse) -> Usage | None:
    """The tokens that the server counted; None where it does not say."""
    raw = response.raw
    for place in (response.additional_kwargs, _get(raw, "usage"), raw):
        tokens_in = _get(place, "prompt_tokens", "input_tokens", "prompt_eval_count")
        tokens_out = _get(place, "completion_tokens", "output_tokens", "eval_count")
        if isinstance(tokens_in, int) and isinstance(tokens_out, int) and tokens_in >= 0 <= tokens_out and tokens_in:
            return Usage(tokens_in, tokens_out)
    return None


def _was_cut(raw: Any) -> bool:
    choices = _get(raw, "choices")
    reason = _get(choices[0], "finish_reason") if choices else _get(raw, "done_reason", "stop_reason", "finish_reason")
    return reason in ("length", "max_tokens", "MAX_TOKENS")
