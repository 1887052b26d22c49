"""What a writer may spend, what it has spent, and what it will."""

from __future__ import annotations

from pathlib import Path

import pytest

from raglift.errors import UserError
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.budget import BudgetSpentError
from raglift.synthesis.llm_estimate import estimate_llm
from raglift.synthesis.writer import Written
from tests import tasks
from tests.synthesis.fake_server import FakeServer
from tests.synthesis.llm_writing import CALLS, TEXTS, run, writer_for

pytestmark = pytest.mark.usefixtures("quick")

QUIET = Progress(quiet=True)


def test_a_budget_stops_the_run_and_nothing_is_paid_for_twice(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.delay = 0.01
    limits = [4_000, 8_000, 12_000]
    for limit in limits:
        with pytest.raises(BudgetSpentError, match="used up") as caught:
            run(writer_for(fake, concurrency=6, max_tokens=limit), tmp_path / "j.jsonl")
        assert limit - 4_000 < fake.tokens <= limit
        assert f"{fake.tokens:,} tokens are spent" in caught.value.why
        assert "run the same command again" in caught.value.fix
    assert run(writer_for(fake, concurrency=6, max_tokens=30_000), tmp_path / "j.jsonl")[0] == expected
    assert set(fake.finished.values()) == {1}
    assert fake.requests == CALLS


def test_a_budget_in_money(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    prices = {"price_in": 1.0, "price_out": 2.0}
    with pytest.raises(BudgetSpentError, match="used up"):
        run(writer_for(fake, max_money=0.005, **prices), tmp_path / "j.jsonl")
    assert 0.002 < 1e-6 * fake.tokens < 0.005
    assert run(writer_for(fake, max_money=5.0, **prices), tmp_path / "j.jsonl")[0] == expected
    assert set(fake.finished.values()) == {1}


def test_where_the_server_does_not_count_we_do(fake: FakeServer, tmp_path: Path) -> None:
    fake.usage = False
    with pytest.raises(BudgetSpentError, match="used up"):
        run(writer_for(fake, max_tokens=3_000), tmp_path / "j.jsonl")
    assert 3 <= fake.requests < CALLS


def test_the_estimate(fake: FakeServer, tmp_path: Path) -> None:
    writer = writer_for(fake, price_in=1.0, price_out=2.0)
    estimate = estimate_llm(TEXTS, writer, tasks.asking(), QUIET)
    assert fake.requests == 0
    assert (estimate.calls, estimate.questions) == (CALLS, len(TEXTS))
    run(writer, tmp_path / "j.jsonl")
    assert estimate.likely.total == pytest.approx(fake.tokens, rel=0.3)
    assert fake.tokens <= estimate.most.total
    assert estimate.likely_money is not None
    assert estimate.likely_money < estimate.likely.total * 2e-6
    journal = Journal(tmp_path / "j.jsonl")
    assert estimate_llm(TEXTS, writer, tasks.asking(), QUIET, journal).calls == 0
    journal.close()


def test_the_estimate_of_what_is_left(fake: FakeServer, tmp_path: Path) -> None:
    fake.script = ["ok"] * 9 + [401] * 100
    with pytest.raises(UserError, match="failed"):
        run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
    journal = Journal(tmp_path / "j.jsonl")
    assert estimate_llm(TEXTS, writer_for(fake), tasks.asking(), QUIET, journal).calls == CALLS - 9
    journal.close()
