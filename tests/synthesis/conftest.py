"""What the tests of writers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raglift.synthesis import llm_calls
from raglift.synthesis.writer import Written
from tests.synthesis.fake_server import FakeServer, serving
from tests.synthesis.llm_writing import KEY, Local, passed, run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and the key that the fake server wants."""
    monkeypatch.setattr(llm_calls, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("SOME_KEY", KEY)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A server that writes questions."""
    with serving(FakeServer()) as server:
        yield server


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Written]:
    """What is written where nothing goes wrong."""
    return run(passed(Local(), concurrency=1), tmp_path_factory.mktemp("expected") / "j.jsonl")[0]
