"""A child process that limits itself, and what it is asked through a pipe: for files that may be out to do harm."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psutil

import raglift
from raglift.confined import HEADER

START_SECONDS = 60.0
"""What a child may take to say that it is ready."""
_START = (
    "import json, sys; from importlib import import_module; sys.path[:] = json.loads(sys.argv[1]); "
    "import_module(sys.argv[2]).main()"
)
_LOOK = 0.2
"""Seconds between two looks at the child's memory, where the system does not limit it."""


class TooLongError(Exception):
    """The child says more than it may."""


def ending(status: int) -> str:
    """How a process ended, by its exit status: a signal's name where one ended it."""
    names = {-int(number): number.name for number in signal.Signals}
    return f"It ended with {names.get(status, f'status {status}')}."


class Child:
    """One process, its pipe, and the thread that reads it: pipes cannot be waited for with a limit on every system.

    Args:
        module: What the process runs: the function `main` of this module, which says that it is ready.
        settings: Its last argument, as JSON.
        longest: Most bytes of an answer.
        environment: Variables that differ from this process's.
    """

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        longest: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        path = [str(Path(raglift.__file__).parents[1]), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(path), module, json.dumps(settings)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._messages: queue.SimpleQueue[dict[str, Any] | TooLongError | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout, longest), daemon=True)
        self._reader.start()

    def _listen(self, pipe: BinaryIO, longest: int) -> None:
        with pipe, suppress(OSError, ValueError):
            while len(header := pipe.read(HEADER.size)) == HEADER.size:
                (length,) = HEADER.unpack(header)
                if length > longest:
                    self._messages.put(TooLongError())
                    return
                data = pipe.read(length)
                if len(data) < length:
                    break
                self._messages.put(json.loads(data))
        self._messages.put(None)

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request, as a line of JSON."""
        with suppress(OSError):  # it has died, which `hear` will say
            self._stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._stdin.flush()

    def hear(self, seconds: float, memory: int | None) -> dict[str, Any] | None:
        """The next message; None once the process has ended.

        Raises:
            TimeoutError: There was none within `seconds`.
            MemoryError: The process holds more than `memory` bytes.
            TooLongError: The message is longer than any can be.
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
            if isinstance(message, TooLongError):
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
