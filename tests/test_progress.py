from __future__ import annotations

import io
import time

import pytest

from raglift.progress import Progress

SUMMARY = "1,000/5,000 chunks, 500.0/s, 0:00:02 elapsed, 0:00:08 left"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_plain_lines_at_the_start_every_ten_seconds_and_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    with progress.stage("synthesis", 40, unit="questions") as bar:
        for _ in range(40):
            clock.now += 1
            bar.advance()
    assert stream.getvalue().splitlines() == [
        "synthesis: 40 questions",
        "synthesis: 10/40 questions, 1.0/s, 0:00:10 elapsed, 0:00:30 left",
        "synthesis: 20/40 questions, 1.0/s, 0:00:20 elapsed, 0:00:20 left",
        "synthesis: 30/40 questions, 1.0/s, 0:00:30 elapsed, 0:00:10 left",
        "synthesis: 40/40 questions, 1.0/s, 0:00:40 elapsed, 0:00:00 left",
        "synthesis: 40/40 questions in 0:00:40",
    ]


def test_time_left_ignores_what_an_earlier_attempt_did(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, clock=clock).stage("train", 1000, unit="steps", done=900) as bar:
        clock.now += 20
        bar.advance(10)
        assert bar.rate() == pytest.approx(0.5)
        assert bar.seconds_left() == pytest.approx(180)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train: goes on at 900/1,000 steps"
    assert lines[1] == "train: 910/1,000 steps, 30.0/min, 0:00:20 elapsed, 0:03:00 left"


def test_total_may_be_raised_and_may_be_unknown(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, clock=clock).stage("read") as bar:
        clock.now += 4
        bar.advance(2)
        assert bar.seconds_left() is None
        bar.total = 5
        assert bar.seconds_left() == pytest.approx(6)
        bar.total = 10
        assert bar.seconds_left() == pytest.approx(16)
    assert stream.getvalue().splitlines() == ["read: started", "read: 2/10 in 0:00:04"]


def test_more_than_the_total_leaves_no_time_rather_than_less_than_none(clock: Clock) -> None:
    with Progress(quiet=True, clock=clock).stage("read", 1) as bar:
        clock.now += 1
        bar.advance(3)
        assert bar.seconds_left() == 0


def test_a_stage_that_is_interrupted_says_where_it_stopped(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    with pytest.raises(KeyboardInterrupt), progress.stage("train", 8, unit="steps") as bar:  # noqa: PT012
        bar.advance(3)
        clock.now += 3700
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "train: stopped at 3/8 steps in 1:01:40"


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str], terminal: Terminal) -> None:
    progress = Progress(quiet=True, stream=terminal)
    progress.say("a")
    progress.warn("b")
    with progress.stage("c", 1) as bar:
        bar.advance()
    assert terminal.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.say("said [bold]plainly[/bold]")
    progress.warn("mind")
    assert capsys.readouterr() == ("", "said [bold]plainly[/bold]\nwarning: mind\n")


def test_a_reader_that_went_away_does_not_end_the_run() -> None:
    with Progress(stream=Gone()).stage("train", 2) as bar:
        bar.advance(2)
        assert bar.done == 2


def test_a_terminal_gets_bars_that_nest_and_text_above_them(clock: Clock, terminal: Terminal) -> None:
    progress = Progress(stream=terminal, clock=clock)
    with progress.stage("run", 2, unit="stages") as outer:
        with progress.stage("embed [x]", 5_000, unit="chunks") as bar:
            clock.now += 2
            bar.advance(1_000)
            progress.say("a [line] of text")
            deadline = time.monotonic() + 10  # the bar is redrawn by a thread of its own
            while SUMMARY not in terminal.getvalue() and time.monotonic() < deadline:
                time.sleep(0.02)
        outer.advance()
    text = terminal.getvalue()
    assert "embed [x]" in text
    assert SUMMARY in text
    assert "a [line] of text" in text
    assert "\x1b[" in text
    assert text.rstrip().endswith("run: 1/2 stages in 0:00:02")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Progress(stream=stream).stage("read", 1):
        pass
    assert "\x1b" not in stream.getvalue()


def test_advance_shows_nothing_until_it_is_due(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream, clock=clock).stage("read", 10**6) as bar:
        for _ in range(10**5):
            bar.advance()
        assert stream.getvalue() == "read: 1,000,000\n"
