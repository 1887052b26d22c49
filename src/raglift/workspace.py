"""The workspace folder: its names, and the lock that lets one run at a time write into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from raglift.artifacts import write_atomic
from raglift.errors import UserError

RUNS = "runs"
STATE = "run.json"
_LOCK = ".lock"
_HOLDER = ".holder"
_PATIENCE = 1.0
"""Seconds before a held workspace is refused: `is_held` can only look by holding it for a moment itself."""
_GLANCE = 0.1
"""Seconds before it is called held: longer than another's look, and short for who asks."""
_POLL = 0.01


@contextmanager
def hold(root: Path, who: str) -> Iterator[None]:
    """Hold the workspace; the operating system lets it go if the process dies.

    Args:
        root: The workspace folder, made if it is not there.
        who: What holds it, for the message that another process gets.

    Raises:
        UserError: Another process holds it, or it cannot be written to.
    """
    lock = FileLock(str(root / _LOCK), timeout=_PATIENCE, poll_interval=_POLL)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"Another run is using the workspace {root}.",
            _holder(root),
            "Wait for it to end, or give this run a `workspace` of its own.",
        ) from error
    except OSError as error:
        raise UserError(f"Cannot write to the workspace {root}.", str(error), "Choose another `workspace`.") from error
    try:
        _sign(root, who)
        yield
    finally:
        lock.release()


def is_held(root: Path) -> bool:
    """Whether a living process holds the workspace."""
    if not (root / _LOCK).exists():
        return False
    lock = FileLock(str(root / _LOCK), timeout=_GLANCE, poll_interval=_POLL)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _sign(root: Path, who: str) -> None:
    try:
        write_atomic(root / _HOLDER, f"process {os.getpid()}, {who}".encode())
    except OSError as error:
        raise UserError(f"Cannot write to the workspace {root}.", str(error), "Choose another `workspace`.") from error


def _holder(root: Path) -> str:
    try:
        return f"Held by {(root / _HOLDER).read_text('utf-8')}."
    except OSError:
        return "Two runs at once would write into each other's folders."
