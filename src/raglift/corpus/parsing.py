"""Parsing in a child process, which is replaced when a file makes it exceed a limit."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import psutil

import raglift
from raglift.corpus.parse_child import HEADER, OUT_OF_MEMORY
from raglift.corpus.readers._reader import TOO_HUNGRY, TOO_LONG, TOO_SLOW, Limits
from raglift.errors import UserError

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from raglift.corpus.parse_child import main; main()"
_START_SECONDS = 60.0
_LOOK = 0.2
"""Seconds between two looks at the child's memory, where the system does not limit it."""
_CRASHED = "its parser crashed"


class _TooLongError(Exception):
    """The child says more than it may."""


class Parser:
    """A child process that parses one file after the other; use as a context manager. From one thread at a time.

    Args:
        limits: What one file may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._child: _Child | None = None

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
        except _TooLongError:
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

    def _start(self) -> _Child:
        try:
            child = _Child(self._limits)
        except OSError as error:
            raise _no_start(f"{sys.executable}: {error.strerror}") from error
        with suppress(TimeoutError, _TooLongError):
            if child.hear(_START_SECONDS, None) == {"ready": True}:
                return child
        child.end()
        raise _no_start(f"It ended with status {child.status()} before it was ready.")

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
    names = {-int(number): number.name for number in signal.Signals}
    return _CRASHED, f"It ended with {names.get(status, f'status {status}')}."


class _Child:
    """One process, its pipe, and the thread that reads it: pipes cannot be waited for with a limit on every system."""

    def __init__(self, limits: Limits) -> None:
        # A longest answer: text as UTF-8 in JSON, and what stands around each document.
        longest = 6 * limits.characters + 1_000_000 + 64 * min(limits.documents, limits.characters)
        path = [str(Path(raglift.__file__).parents[1]), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(path), json.dumps(asdict(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._messages: queue.SimpleQueue[dict[str, Any] | _TooLongError | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout, longest), daemon=True)
        self._reader.start()

    def _listen(self, pipe: BinaryIO, longest: int) -> None:
        with pipe, suppress(OSError, ValueError):
            while len(header := pipe.read(HEADER.size)) == HEADER.size:
                (length,) = HEADER.unpack(header)
                if length > longest:
                    self._messages.put(_TooLongError())
                    return
                data = pipe.read(length)
                if len(data) < length:
                    break
                self._messages.put(json.loads(data))
        self._messages.put(None)

    def ask(self, request: dict[str, Any]) -> None:
        with suppress(OSError):  # it has died, which `hear` will say
            self._stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._stdin.flush()

    def hear(self, seconds: float, memory: int | None) -> dict[str, Any] | None:
        """The next message; None once the process has ended.

        Raises:
            TimeoutError: There was none within `seconds`.
            MemoryError: The process holds more than `memory` bytes.
            _TooLongError: The message is longer than any can be.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                message = self._messages.get(timeout=max(0.0, min(left, _LOOK)))
            except queue.Empty:
                if left <= 0:
                    raise TimeoutError from None
                if memory is not None and self._resident() > memory:
                    raise MemoryError from None
                continue
            if isinstance(message, _TooLongError):
                raise message
            return message

    def _resident(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def status(self) -> int:
        """The exit status, once the pipe has ended."""
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return 0

    def end(self) -> None:
        """Kill the process and wait for it and its thread."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._stdin.close()
        self._reader.join(timeout=5)
