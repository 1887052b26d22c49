"""How far a run is: a live bar on a terminal, plain lines elsewhere, always on standard error.

Time left comes from the rate of this attempt: work that an earlier attempt left done says nothing about the speed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_BAR_SECONDS = 0.1
_LINE_SECONDS = 10.0


class Bar:
    """One stage's count. Advance it from one thread."""

    __slots__ = ("_began", "_clock", "_done", "_due", "_every", "_show", "_start", "_total", "name", "unit")

    def __init__(
        self,
        name: str,
        total: float | None,
        unit: str,
        done: float,
        clock: Callable[[], float],
        every: float,
        show: Callable[[Bar], None],
    ) -> None:
        self.name = name
        self.unit = unit
        self._total = total
        self._start = self._done = done
        self._clock = clock
        self._began = clock()
        self._every = every
        self._due = self._began + every
        self._show = show

    @property
    def done(self) -> float:
        """Units finished, over all attempts."""
        return self._done

    @property
    def total(self) -> float | None:
        """Units in all; None where that is unknown. May be changed while the stage runs."""
        return self._total

    @total.setter
    def total(self, value: float | None) -> None:
        self._total = value

    def advance(self, n: float = 1) -> None:
        """Count `n` more units. Costs a clock reading; anything is shown only when it is due."""
        self._done += n
        now = self._clock()
        if now >= self._due:
            self._due = now + self._every
            self._show(self)

    def elapsed(self) -> float:
        """Seconds since this attempt began."""
        return self._clock() - self._began

    def rate(self) -> float | None:
        """Units a second in this attempt; None before the first one."""
        seconds, units = self.elapsed(), self._done - self._start
        return units / seconds if seconds > 0 and units > 0 else None

    def seconds_left(self) -> float | None:
        """Seconds until `total`, at this attempt's rate; None where it cannot be told."""
        rate = self.rate()
        return None if rate is None or self._total is None else max(0.0, self._total - self._done) / rate

    def count(self) -> str:
        """Such as `120/400 questions`."""
        of = "" if self._total is None else f"/{self._total:,.10g}"
        return f"{self._done:,.10g}{of} {self.unit}".rstrip()

    def summary(self) -> str:
        """Count, rate, elapsed and, where it can be told, time left."""
        parts = [self.count()]
        rate = self.rate()
        if rate is not None:
            parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min")
        parts.append(f"{_duration(self.elapsed())} elapsed")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    """Such as `0:01:23`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Progress:
    """Shows the stages of a run, one or several at a time.

    Args:
        quiet: Print nothing at all.
        stream: Where to print; standard error by default.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._quiet = quiet
        self._live: _Live | None = None
        if not quiet and _is_terminal(self._stream):
            self._live = _Live(self._stream)

    @contextmanager
    def stage(self, name: str, total: float | None = None, unit: str = "", done: float = 0) -> Iterator[Bar]:
        """Show a stage while the `with` block runs.

        Args:
            name: The stage's name.
            total: Units in all; None where that is unknown.
            unit: What is counted, in the plural.
            done: Units that an earlier attempt finished.
        """
        live = self._live
        show = self._line if live is None else live.update
        bar = Bar(name, total, unit, done, self._clock, _LINE_SECONDS if live is None else _BAR_SECONDS, show)
        if live is not None:
            live.add(bar)
        elif done:
            self.say(f"{name}: goes on at {bar.count()}")
        else:
            self.say(f"{name}: {'started' if total is None else f'{total:,.10g} {unit}'.rstrip()}")
        ended = "stopped at "
        try:
            yield bar
            ended = ""
        finally:
            if live is not None:
                live.remove(bar)
            self.say(f"{name}: {ended}{bar.count()} in {_duration(bar.elapsed())}")

    def say(self, text: str) -> None:
        """Print a line of plain text, above the bar where there is one."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.say(text)
            return
        try:
            print(text, file=self._stream, flush=True)
        except (OSError, ValueError):
            self._quiet = True  # nobody reads any more, which is no reason to end the run

    def warn(self, text: str) -> None:
        """Like `say`, for what the user ought to know."""
        self.say(f"warning: {text}")

    def _line(self, bar: Bar) -> None:
        self.say(f"{bar.name}: {bar.summary()}")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    except ValueError:  # the stream is closed
        return False


class _Live:
    """The bars of a terminal, drawn by rich, which is loaded with the first of them."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._tasks: dict[int, Any] = {}
        self._display: Any = None

    def add(self, bar: Bar) -> None:
        if self._display is None:
            self._display = _display(self._console)
            self._display.start()
        self._tasks[id(bar)] = self._display.add_task(bar.name, total=bar.total, completed=bar.done, bar=bar)

    def update(self, bar: Bar) -> None:
        self._display.update(self._tasks[id(bar)], total=bar.total, completed=bar.done)

    def remove(self, bar: Bar) -> None:
        self._display.remove_task(self._tasks.pop(id(bar)))
        if not self._tasks:
            self._display.stop()
            self._display = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _display(console: Any) -> Any:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Summary(ProgressColumn):
        """Read from the bar at every redraw, so that the clock goes on between two units."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["bar"].summary())

    name = TextColumn("{task.description}", markup=False)
    return Progress(name, BarColumn(bar_width=24), Summary(), console=console, transient=True)
