"""Writing with any LlamaIndex language model: one task a call, several calls at once, every reply kept.

Each reply stands in the journal under the hash of its prompt before it is used. So nothing is paid for twice, and the
questions, which are put together from the journal in the order of the plan, do not depend on the order in which calls
finish or on how often the run was stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from raglift.errors import UserError
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.asking import Asking
from raglift.synthesis.budget import Budget, Usage, shown
from raglift.synthesis.event_loop import run_coroutine
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_calls import Caller, RefusedError
from raglift.synthesis.llm_estimate import count_tokens, estimate_llm, most_of
from raglift.synthesis.llm_tasks import CUT, doubt_of, lost_units, read_result, spent_so_far, unit_of
from raglift.synthesis.writer import Assignment, Written

_REFUSALS = 5
"""Prompts refused before one is ever taken, after which it is not the prompts' fault."""
_STREAK = 25
"""Prompts refused in a row, where others were taken before, after which the server has likely changed its mind."""


def write_with_llm(
    assignments: Sequence[Assignment],
    writer: LLMWriter,
    asking: Asking,
    journal: Journal,
    display: Progress,
    closed_book: bool = False,
) -> tuple[list[Written], Counter[str]]:
    """Write every question and its answer, going on from the journal.

    Args:
        closed_book: Whether the questions will be asked without their passages too, for the estimate.

    Returns:
        The written ones in the order of `assignments` (without those that the server refused), and how many replies
        were of no use, by reason.

    Raises:
        UserError: The budget is used up, or the server fails for good. Everything that was written is in the journal.
    """
    unique = list(dict.fromkeys((item.kind, item.shown) for item in assignments))
    results = {pair: read_result(asking, *pair, journal) for pair in unique}
    left = [pair for pair, result in results.items() if not result.complete]
    if left:
        display.say(str(estimate_llm(left, writer, asking, display, journal, closed_book)))
    done = len(unique) - len(left)
    with display.stage("writing questions", len(unique), "questions", done=done) as bar:
        if left:
            taken = any(result.question or (result.complete and not result.refused) for result in results.values())
            session = _Session(writer, journal, spent_so_far(journal), taken, display.warn, bar.advance)
            run_coroutine(session.run([partial(_next_prompt, asking, pair, journal) for pair in left]))
            display.say(f"{writer.name}: {shown(writer.settings, session.spent)} in all")
    results |= {pair: read_result(asking, *pair, journal) for pair in left}
    notes = Counter(note for result in results.values() for note in result.notes)
    written = []
    for item in assignments:
        result = results[item.kind, item.shown]
        if not result.refused:
            written.append(Written(item, result.question, result.answer))
    if notes[CUT] > len(unique) / 4:
        display.warn("Many replies were cut off: raise synthesis.writer.output_tokens.")
    return written, notes


def ask_with_llm(name: str, prompts: Sequence[str], writer: LLMWriter, journal: Journal, display: Progress) -> None:
    """Have each prompt replied to once, going on from the journal, which then holds every reply.

    Args:
        name: What is being done, for the bar.
        prompts: Different ones, to a writer that has taken others before.

    Raises:
        UserError: As `write_with_llm`.
    """
    left = [prompt for prompt in prompts if unit_of(prompt) not in journal]
    with display.stage(name, len(prompts), "questions", done=len(prompts) - len(left)) as bar:
        if left:
            session = _Session(writer, journal, spent_so_far(journal), True, display.warn, bar.advance)
            run_coroutine(session.run([partial(_unanswered, prompt, journal) for prompt in left]))
            display.say(f"{writer.name}: {shown(writer.settings, session.spent)} in all")


def _next_prompt(asking: Asking, pair: tuple[str, str], journal: Journal) -> str:
    return read_result(asking, *pair, journal).next_prompt


def _unanswered(prompt: str, journal: Journal) -> str:
    return "" if unit_of(prompt) in journal else prompt


class _Session:
    """One attempt at what is left to ask: `concurrency` workers take the tasks in turn until one must stop.

    A task gives its next prompt, or an empty text when the journal holds all that it needs.
    """

    def __init__(
        self,
        writer: LLMWriter,
        journal: Journal,
        spent: Usage,
        taken: bool,
        warn: Callable[[str], None],
        advance: Callable[[int], None],
    ) -> None:
        self._writer = writer
        self._journal = journal
        self._budget = Budget(writer.settings, spent)
        self._advance = advance
        self._caller = Caller(writer, count_tokens, warn)
        self._error: UserError | None = None
        self._taken = taken
        self._refused: list[tuple[str, str]] = []

    @property
    def spent(self) -> Usage:
        """Tokens of all attempts so far."""
        return self._budget.spent

    async def run(self, left: Sequence[Callable[[], str]]) -> None:
        """See to every task; what has been asked when something stops the run is waited for and kept."""
        todo = iter(left)
        count = min(self._writer.settings.concurrency, len(left))
        workers = [asyncio.create_task(self._work(todo)) for _ in range(count)]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        if self._error is None and self._refused:
            if self._taken:
                self._keep_refused()
            else:
                self._error = self._nothing_taken()
        if self._error is not None:
            raise self._error

    async def _work(self, todo: Iterator[Callable[[], str]]) -> None:
        for next_prompt in todo:
            try:
                while prompt := next_prompt():
                    await self._ask(prompt)
                    if unit_of(prompt) not in self._journal:
                        break  # refused, and held until another prompt is taken
            except UserError as error:
                self._error = self._error or error
            if self._error is not None:
                return
            self._advance(1)

    async def _ask(self, prompt: str) -> None:
        most = most_of(self._writer, prompt)
        await self._budget.reserve(most)
        actual = Usage()
        try:
            if self._error is not None:
                raise self._error  # it came up while this call waited for its share of the budget
            reply = await self._caller.call(prompt, lambda: self._lose(most))
            actual = reply.usage
            self._keep(prompt, {"text": reply.text, "in": actual.tokens_in, "out": actual.tokens_out, "cut": reply.cut})
            self._taken = True
            self._keep_refused()
        except RefusedError as error:
            self._refused.append((prompt, str(error)))
            self._stop_at_a_streak()
        finally:
            self._budget.settle(most, actual)

    def _lose(self, most: Usage) -> None:
        """A server may bill an answer that nobody waited for: it is counted at its most."""
        unit = f"timed out {sum(1 for _ in lost_units(self._journal))}"
        self._journal.append(unit, {"in": most.tokens_in, "out": most.tokens_out})
        self._budget.lose(most)

    def _keep(self, prompt: str, value: dict[str, object]) -> None:
        self._journal.append(unit_of(prompt), value)

    def _keep_refused(self) -> None:
        """Only a server that takes some prompts refuses others for what they hold."""
        for prompt, why in self._refused:
            self._keep(prompt, {"refused": why})
        self._refused.clear()

    def _stop_at_a_streak(self) -> None:
        """Stop where too many were refused since one was last taken.

        Whose fault that is cannot be known. The next attempt asks these prompts once more and does not count them
        again, so that it neither gives up questions for an empty account nor stops at the same place for ever.
        """
        if not self._taken:
            if len(self._refused) >= _REFUSALS:
                raise self._nothing_taken() from None
            return
        fresh = [(prompt, why) for prompt, why in self._refused if doubt_of(prompt) not in self._journal]
        if len(fresh) >= _STREAK:
            for prompt, why in fresh:
                self._journal.append(doubt_of(prompt), {"doubtful": why})
            raise self._takes_no_more() from None

    def _nothing_taken(self) -> UserError:
        return UserError(
            f"{self._writer.name} takes none of the prompts.",
            self._refused[0][1],
            "Check synthesis.writer: the model, chat and output_tokens.",
        )

    def _takes_no_more(self) -> UserError:
        return UserError(
            f"{self._writer.name} took prompts before and has now refused {_STREAK} in a row.",
            self._refused[-1][1],
            "If that is about the account or the server, mend it first. Then run the same command again: what is "
            "written is kept, these prompts are asked once more, and those that are still refused are passed over.",
        )
