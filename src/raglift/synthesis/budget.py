"""What a writer's calls cost: counted, bounded before each call, and estimated before the first."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from raglift.config import WriterConfig
from raglift.errors import UserError


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of prompts and of replies."""

    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.tokens_in - other.tokens_in, self.tokens_out - other.tokens_out)

    @property
    def total(self) -> int:
        """Tokens of both."""
        return self.tokens_in + self.tokens_out


def money(settings: WriterConfig, usage: Usage) -> float | None:
    """What the tokens cost, in the prices' currency; None without prices."""
    if settings.price_in is None or settings.price_out is None:
        return None
    return (settings.price_in * usage.tokens_in + settings.price_out * usage.tokens_out) / 1e6


class BudgetSpentError(UserError):
    """The next call may cost more than is left."""


class Budget:
    """Lets a call begin only if the budget bears the most that it, and all calls under way, may cost.

    Use from one event loop.
    """

    def __init__(self, settings: WriterConfig, spent: Usage) -> None:
        self._settings = settings
        self.spent = spent
        self._reserved = Usage()
        self._under_way = 0
        self._changed = asyncio.Event()

    async def reserve(self, most: Usage) -> None:
        """Wait until `most` is free for a call.

        Raises:
            BudgetSpentError: It is not, and no call under way could free it.
        """
        while not self._bears(self.spent + self._reserved + most):
            if not self._under_way:
                raise self._spent_error()
            self._changed.clear()
            await self._changed.wait()
        self._reserved += most
        self._under_way += 1

    def settle(self, most: Usage, actual: Usage) -> None:
        """End a call that had reserved `most` and cost `actual`."""
        self._reserved -= most
        self._under_way -= 1
        self.lose(actual)
        self._changed.set()

    def lose(self, usage: Usage) -> None:
        """Count tokens that were spent."""
        self.spent += usage

    def _bears(self, usage: Usage) -> bool:
        tokens, limit = self._settings.max_tokens, self._settings.max_money
        cost = money(self._settings, usage)
        return (tokens is None or usage.total <= tokens) and (limit is None or cost is None or cost <= limit)

    def _spent_error(self) -> BudgetSpentError:
        limits = [f"{n}: {v:,}" for n in ("max_tokens", "max_money") if (v := getattr(self._settings, n)) is not None]
        return BudgetSpentError(
            "The writer's budget is used up.",
            f"{shown(self._settings, self.spent)} are spent, and the next call might exceed synthesis.writer "
            f"({', '.join(limits)}).",
            "Raise the budget and run the same command again: it goes on, and nothing written is paid for twice.",
        )


def shown(settings: WriterConfig, usage: Usage) -> str:
    """Such as `12,000 tokens (0.0041)`: the tokens, and what they cost where there are prices."""
    cost = money(settings, usage)
    return f"{usage.total:,} tokens" + ("" if cost is None else f" ({cost:,.4f})")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What writing will take.

    Attributes:
        questions: Questions that are left to write.
        calls: Calls without retries; 0 for a local writer.
        likely: Tokens, with replies of the length of the worked examples.
        most: Tokens, with replies as long as they may be.
    """

    writer: str
    questions: int
    calls: int
    likely: Usage
    most: Usage
    likely_money: float | None
    most_money: float | None
    max_tokens: int | None
    max_money: float | None

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @property
    def within_budget(self) -> bool:
        """Whether the likely cost stays within the budget."""
        tokens = self.max_tokens is None or self.likely.total <= self.max_tokens
        cost = self.max_money is None or self.likely_money is None or self.likely_money <= self.max_money
        return tokens and cost

    def __str__(self) -> str:
        if not self.calls:
            return f"{self.writer}: {self.questions:,} questions, written on this machine"
        text = (
            f"{self.writer}: {self.calls:,} calls for {self.questions:,} questions, about {self.likely.total:,} tokens "
            f"(at most {self.most.total:,})"
        )
        if self.likely_money is not None and self.most_money is not None:
            text += f", which cost about {self.likely_money:,.4f} (at most {self.most_money:,.4f})"
        return text + ("" if self.within_budget else "; the budget will not bear that, and the run will stop at it")
