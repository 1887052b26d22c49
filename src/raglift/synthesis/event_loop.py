"""One event loop for the process, in a thread of its own.

The clients of language models keep connections that belong to the loop that opened them; with a loop a call, an `LLM`
that is passed to a second run would meet connections of a dead one. It also works where a loop runs already, as in a
notebook, and leaves the main thread free for Ctrl-C.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Result = TypeVar("Result")
_PATIENCE = 10.0
"""Seconds that a cancelled coroutine has to let go."""


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def serve() -> None:
        while True:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue  # raised by a coroutine, whose waiting thread is told by its future

    threading.Thread(target=serve, name="raglift-event-loop", daemon=True).start()
    return loop


def run_coroutine(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result; where this thread is interrupted, the coroutine is cancelled before that is raised."""
    ended = threading.Event()

    async def signalled() -> Result:
        try:
            return await coroutine
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(signalled(), _loop())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait(_PATIENCE)
        raise
