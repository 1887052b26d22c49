"""The child's side of `raglift.child`: a process that limits itself, then answers one request after the other.

It imports the standard library alone: a small process starts quickly and leaves its memory to the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

OUT_OF_MEMORY = 77
"""Exit status of a process that ran into its memory limit."""
HEADER = struct.Struct(">Q")
"""The length in bytes of the JSON message that follows."""


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]], seconds: float, memory_mb: int) -> None:
    """Answer requests on standard input until it ends.

    Args:
        seconds: What one request may take.
        memory_mb: What this process may take; without effect where the system does not limit it: the parent watches.
    """
    out = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # a library that prints must not be taken for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends this process
    sys.dont_write_bytecode = True
    restrict(memory_mb)
    _send(out, {"ready": True})
    for line in sys.stdin.buffer:
        _allow_cpu(seconds)
        try:
            _send(out, answer(json.loads(line)))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def restrict(memory_mb: int) -> None:
    """Limit memory, and forbid writing files and dumping core, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent watches
        return
    for name, value in (("RLIMIT_AS", memory_mb * 1_000_000), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS does not take RLIMIT_AS: there too
            kind = getattr(resource, name)
            resource.setrlimit(kind, (value, value))


def _allow_cpu(seconds: float) -> None:
    """End this process some time after its limit by itself, if nobody is left who would."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 5, hard))


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message, ensure_ascii=False).encode("utf-8")
    out.write(HEADER.pack(len(data)))
    out.write(data)
    out.flush()
