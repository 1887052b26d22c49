"""Batches of one model side by side on a processor: each thread computes its own, and none waits for another.

Inside one forward pass threads share every small product and wait for each other after it, hundreds of times a token:
waiting in earnest (spinning) takes the processor from whatever else runs, and waiting politely takes half of the time.
Threads that never meet do neither.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

_LANES = 4
"""Lanes at most: between two products a lane needs the interpreter, which only one has at a time."""

Batch = TypeVar("Batch")
Found = TypeVar("Found")


def lane_count(device: torch.device) -> int:
    """Batches that are computed at once: by it a caller divides what would leave a lane without work."""
    return min(torch.get_num_threads(), _LANES) if device.type == "cpu" else 1


def side_by_side(
    work: Callable[[Batch], Found], batches: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Batch, Found]]:
    """Each batch with what `work` makes of it, in the order of the batches.

    On a processor the threads that torch has here are divided among lanes; a batch that is alone has all of them, and
    so has every batch on another device. `work` is called in inference mode and in the caller's context.

    Args:
        batches: Taken as they are needed, a few before their turn.
    """
    rest = iter(batches)
    first = list(islice(rest, 2))
    threads = torch.get_num_threads()
    lanes = lane_count(device) if len(first) > 1 else 1
    if lanes == 1:
        yield from ((batch, _inferring(work, batch)) for batch in chain(first, rest))
        return
    running: deque[tuple[Batch, Future[Found]]] = deque()
    pool = ThreadPoolExecutor(lanes, "raglift-lane", initializer=_begin, initargs=(threads // lanes,))
    try:
        for batch in chain(first, rest):
            running.append((batch, pool.submit(contextvars.copy_context().run, _inferring, work, batch)))
            if len(running) > lanes:
                done, future = running.popleft()
                yield done, future.result()
        while running:
            done, future = running.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)  # a lane's number is also what threads begin with from then on


def _begin(threads: int) -> None:
    torch.get_num_threads()  # makes torch settle this thread's number, which it would do later and over ours
    torch.set_num_threads(threads)


@torch.inference_mode()
def _inferring(work: Callable[[Batch], Found], batch: Batch) -> Found:
    return work(batch)
