"""Parsing in a child process, which is replaced when a file makes it exceed a limit."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any

from raglift.child import START_SECONDS, Child, TooLongError, ending
from raglift.confined import OUT_OF_MEMORY
from raglift.corpus.readers._reader import TOO_HUNGRY, TOO_LONG, TOO_SLOW, Limits
from raglift.errors import UserError

_CRASHED = "its parser crashed"


class Parser:
    """A child process that parses one file after the other; use as a context manager. From one thread at a time.

    Args:
        limits: What one file may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._child: Child | None = None

    def __enter__(self) -> Parser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def parse(self, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer (see `parse_child.answer`), or the limit that the file exceeded as `reason`.

        Raises:
            UserError: No child can be started.
        """
        used = self._child is not None
        answer = self._ask(request)
        if used and answer.get("reason") in (TOO_HUNGRY, _CRASHED):
            # What earlier files left behind in the child may be to blame: whether a file is read must not depend on
            # its siblings.
            answer = self._ask(request)
        return answer

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._child is None:
            self._child = self._start()
        child = self._child
        detail = ""
        try:
            child.ask(request)
            message = child.hear(self._limits.seconds, self._limits.memory_mb * 1_000_000)
            if message is not None:
                return message
            reason, detail = _death(child.status())
        except TooLongError:
            reason = TOO_LONG
        except TimeoutError:
            reason = TOO_SLOW
        except MemoryError:
            reason = TOO_HUNGRY
        except BaseException:
            self._end()
            raise
        self._end()
        return {"reason": reason, "detail": detail}

    def _start(self) -> Child:
        try:
            child = Child("raglift.corpus.parse_child", asdict(self._limits), self._longest())
        except OSError as error:
            raise _no_start(f"{sys.executable}: {error.strerror}") from error
        with suppress(TimeoutError, TooLongError):
            if child.hear(START_SECONDS, None) == {"ready": True}:
                return child
        child.end()
        raise _no_start(f"It ended with status {child.status()} before it was ready.")

    def _longest(self) -> int:
        """Of an answer: text as UTF-8 in JSON, and what stands around each document."""
        limits = self._limits
        return 6 * limits.characters + 1_000_000 + 64 * min(limits.documents, limits.characters)

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def _no_start(why: str) -> UserError:
    return UserError(
        "The process that parses documents cannot be started.", why, "Raise reading.memory_mb, or free some memory."
    )


def _death(status: int) -> tuple[str, str]:
    if status == OUT_OF_MEMORY:
        return TOO_HUNGRY, ""
    if status < 0 and -status == getattr(signal, "SIGXCPU", 0):
        return TOO_SLOW, ""
    return _CRASHED, ending(status)
