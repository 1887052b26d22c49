"""Builders that the evaluation tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raglift.records import Evidence, QAPair

MakeQuestion = Callable[..., QAPair]


def _make(
    qa_id: str = "q", answers: tuple[str, ...] = (), evidence: tuple[Evidence, ...] = (), answerable: bool = True
) -> QAPair:
    return QAPair(qa_id, f"What is {qa_id}?", answers, evidence, "factoid", "test", "human", answerable)


@pytest.fixture(scope="session")
def make_question() -> MakeQuestion:
    """A `QAPair` of which only what matters to a score is given."""
    return _make
