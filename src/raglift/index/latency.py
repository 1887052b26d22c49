"""How long each stage of a search takes, measured question by question as an application asks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from raglift.errors import UserError

WHOLE = "whole"
_WARM = 3
"""Questions that are asked before the clock is read."""
_SPENT: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that a stage of a search takes: half of the questions at most `p50`, all but a twentieth `p95`."""

    stage: str
    p50: float
    p95: float


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the time in the block as that of a stage, where somebody is measuring."""
    spent = _SPENT.get()
    if spent is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - start


def latencies(retrieve: Callable[[str], object], questions: Sequence[str]) -> list[Latency]:
    """Ask the questions one by one; the stages in the order in which they come, and the whole last.

    A question that was asked before has its vector remembered: give different ones.

    Raises:
        UserError: There is no question.
    """
    if not questions:
        raise UserError("There is no question to ask.", "A latency is that of questions.", "Give some.")
    for question in questions[:_WARM]:
        retrieve(f"{question} ")  # not the same text, whose vector would be known
    rounds: list[dict[str, float]] = []
    for question in questions:
        rounds.append({})
        token = _SPENT.set(rounds[-1])
        try:
            with stage(WHOLE):
                retrieve(question)
        finally:
            _SPENT.reset(token)
    names = [*dict.fromkeys(name for spent in rounds for name in spent if name != WHOLE), WHOLE]
    return [_latency(name, [spent.get(name, 0.0) for spent in rounds]) for name in names]


def _latency(name: str, seconds: list[float]) -> Latency:
    p50, p95 = np.percentile(1000 * np.array(seconds), [50, 95])
    return Latency(name, round(float(p50), 3), round(float(p95), 3))
