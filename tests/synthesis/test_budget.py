from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.config import WriterConfig
from raglift.synthesis.budget import Budget, BudgetSpentError, Estimate, Usage, money, shown

PRICED = WriterConfig(kind="python", price_in=2.0, price_out=8.0)


def limited(tokens: int | None = None, cost: float | None = None) -> WriterConfig:
    return PRICED.model_copy(update={"max_tokens": tokens, "max_money": cost})


def test_money() -> None:
    assert money(PRICED, Usage(1_000_000, 500_000)) == pytest.approx(6.0)
    assert money(WriterConfig(kind="python"), Usage(5, 5)) is None
    assert shown(PRICED, Usage(1000, 500)) == "1,500 tokens (0.0060)"
    assert shown(WriterConfig(kind="python"), Usage(1000, 500)) == "1,500 tokens"


async def call(budget: Budget, most: Usage, actual: Usage, rng: random.Random, peak: list[Usage]) -> None:
    await budget.reserve(most)
    for _ in range(rng.randrange(3)):
        await asyncio.sleep(0)
    budget.settle(most, actual)
    peak.append(budget.spent)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(0, 50)), max_size=30),
    st.integers(1, 600),
    st.booleans(),
    st.integers(0, 100),
)
def test_calls_at_once_never_spend_more_than_there_is(
    calls: list[tuple[int, int, int]], limit: int, in_money: bool, seed: int
) -> None:
    settings = limited(cost=limit * 8 / 1e6) if in_money else limited(tokens=limit)
    budget, peak = Budget(settings, Usage()), list[Usage]()
    rng = random.Random(seed)
    usages = [(Usage(a, b), Usage(a, min(b, c))) for a, b, c in calls]

    async def main() -> list[BaseException | None]:
        return await asyncio.gather(*(call(budget, m, a, rng, peak) for m, a in usages), return_exceptions=True)

    results = asyncio.run(asyncio.wait_for(main(), 5))
    assert all(result is None or isinstance(result, BudgetSpentError) for result in results)
    for spent in peak:
        cost = money(settings, spent)
        assert cost is not None
        assert cost <= limit * 8 / 1e6 * (1 + 1e-9) if in_money else spent.total <= limit
    done = [actual for (_, actual), result in zip(usages, results, strict=True) if result is None]
    assert budget.spent == sum(done, Usage())
    if all(result is not None for result in results):
        assert all(m.total > limit or in_money for m, _ in usages)


def test_a_call_waits_for_what_another_may_give_back() -> None:
    async def main() -> Usage:
        budget = Budget(limited(tokens=100), Usage())
        await budget.reserve(Usage(10, 80))
        waiting = asyncio.create_task(budget.reserve(Usage(10, 50)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        budget.settle(Usage(10, 80), Usage(10, 5))
        await asyncio.wait_for(waiting, 1)
        return budget.spent

    assert asyncio.run(main()) == Usage(10, 5)


def test_what_was_spent_before_counts() -> None:
    async def main() -> None:
        await Budget(limited(tokens=100), Usage(50, 45)).reserve(Usage(5, 5))

    with pytest.raises(BudgetSpentError, match="used up") as caught:
        asyncio.run(main())
    assert "95 tokens" in caught.value.why
    assert "max_tokens: 100" in caught.value.why


def test_an_estimate_says_when_the_budget_is_too_small() -> None:
    def make(likely: int, cost: float) -> Estimate:
        return Estimate("m", 5, 10, Usage(likely, 0), Usage(900, 0), cost, 3.0, 500, 2.0)

    assert make(400, 1.0).within_budget
    assert "the run will stop" not in str(make(400, 1.0))
    for estimate in (make(501, 1.0), make(400, 2.1)):
        assert not estimate.within_budget
        assert "the run will stop" in str(estimate)
