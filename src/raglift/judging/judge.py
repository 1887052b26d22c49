"""A language model that is asked for labels: by their probability where it tells that, else by what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift.errors import UserError
from raglift.journal import Journal
from raglift.judging.items import Item
from raglift.judging.parsing import parse_label
from raglift.judging.questions._base import JudgeQuestion, Label
from raglift.models.llm import LiftLLM
from raglift.records import content_id

VERSION = 1
"""Raised when the same model and prompt give another label."""
_READ_AT_ONCE = 64
"""Prompts that a local model reads between two lines of the journal."""
_WRITTEN_AT_ONCE = 4
"""Prompts for each call under way; those that are waiting when one fails are never sent."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one item.

    Attributes:
        value: In [0, 1]; None where the reason says why.
        probability: Of the first label among the two, over the item's calls; None where the judge only writes.
    """

    value: float | None
    probability: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Reply:
    """The label that one call gave, or why none."""

    label: str | None
    probability: float | None = None
    reason: str = ""


class Judge:
    """A language model as a judge.

    A raglift `LiftLLM` is read by the probabilities of the labels, which is one forward pass a call and never leaves a
    reply that cannot be parsed; any other `LLM` has to write the label alone.

    Args:
        llm: Any LlamaIndex language model.
        identity: What decides its labels; part of what is kept of them.
        name: How it is called in messages; its model name by default.
        concurrency: Calls under way at once; above 1 only for a model behind a server.
        redact: Takes secrets out of what an error says.

    Example:
        >>> judge = Judge(llm)
        >>> judge.judge(Correctness(), [Item("q1", "Which year?", "1990", references=("In 1990",))])
        [Judgement(value=1.0, probability=None, reason='')]
    """

    def __init__(
        self,
        llm: LLM,
        identity: str = "",
        name: str = "",
        concurrency: int = 1,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.llm = llm
        self.name = name or llm.metadata.model_name
        self.identity = identity or content_id(type(llm).__qualname__, llm.metadata.model_name)
        self._concurrency = concurrency
        self._redact = redact

    @property
    def by_probability(self) -> bool:
        """Whether labels are read by their probability."""
        return isinstance(self.llm, LiftLLM)

    def judge(
        self,
        question: JudgeQuestion,
        items: Sequence[Item],
        journal: Journal | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Judgement]:
        """One judgement an item, in order. Equal prompts are asked once.

        Args:
            journal: What was asked before, and is not asked again.
            advance: Told how many more items are done.

        Raises:
            UserError: The model failed; what it had said before is in the journal.
        """
        missing = [question.missing(item) for item in items]
        prompts = [() if reason else question.prompts(item) for item, reason in zip(items, missing, strict=True)]
        wanted = list(dict.fromkeys(prompt for calls in prompts for prompt in calls))
        replies: dict[str, _Reply] = {}
        shown = 0
        for prompt, reply in self._replies(wanted, question.labels, journal):
            replies[prompt] = reply
            done = len(replies) * len(items) // len(wanted)
            advance(done - shown)
            shown = done
        advance(len(items) - shown)
        return [
            Judgement(None, None, reason) if reason else _judgement(question, [replies[prompt] for prompt in calls])
            for calls, reason in zip(prompts, missing, strict=True)
        ]

    def _replies(
        self, prompts: Sequence[str], labels: tuple[Label, Label], journal: Journal | None
    ) -> Iterator[tuple[str, _Reply]]:
        """Each prompt with its reply, those that are in the journal first."""
        units = {prompt: content_id("judge", VERSION, self.identity, labels, prompt) for prompt in prompts}
        left = []
        for prompt, unit in units.items():
            if journal is not None and unit in journal:
                yield prompt, _Reply(*journal[unit])
            else:
                left.append(prompt)
        if self.by_probability:
            left.sort(key=lambda prompt: -len(prompt))  # batches of one length each
        size = _READ_AT_ONCE if self.by_probability else _WRITTEN_AT_ONCE * self._concurrency
        for batch in (left[start : start + size] for start in range(0, len(left), size)):
            for prompt, reply in zip(batch, self._ask(batch, labels), strict=True):
                if journal is not None:
                    journal.append(units[prompt], [reply.label, reply.probability, reply.reason])
                yield prompt, reply

    def _ask(self, prompts: Sequence[str], labels: tuple[Label, Label]) -> Iterator[_Reply]:
        """One reply a prompt, in order, each as soon as it is there, so that a later failure loses none."""
        names = [label[0] for label in labels]
        if isinstance(self.llm, LiftLLM):
            yield from _by_probability(self.llm, prompts, labels)
        elif self._concurrency == 1:
            yield from (self._written(prompt, names) for prompt in prompts)
        else:
            with ThreadPoolExecutor(self._concurrency) as pool:
                yield from pool.map(lambda prompt: self._written(prompt, names), prompts)

    def _written(self, prompt: str, names: Sequence[str]) -> _Reply:
        try:
            text = self.llm.complete(prompt).text or ""
        except UserError:
            raise
        except Exception as error:  # every client library has errors of its own
            told = " ".join(self._redact(str(error)).split())[:300]
            failed = UserError(
                f"The judge {self.name} failed.",
                f"{type(error).__name__}: {told}",
                "Mend what it says. What it has judged is kept: the same command goes on from there.",
            )
        else:
            label, reason = parse_label(self._redact(text), names)
            return _Reply(label, None, reason)
        # Raised out here, so that the library's error, which may quote the request, hangs on none of ours.
        raise failed


def _by_probability(llm: LiftLLM, prompts: Sequence[str], labels: tuple[Label, Label]) -> list[_Reply]:
    generator = llm.generator
    rendered = [generator.chat([{"role": "user", "content": prompt}]) for prompt in prompts]
    lengths = [len(generator.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in rendered]
    fits = [place for place, length in enumerate(lengths) if length < llm.context_window]
    found: list[_Reply] = [_Reply(None, None, "longer than the judge can read")] * len(prompts)
    if not fits:
        return found
    for place, logs in zip(fits, generator.score_labels([rendered[place] for place in fits], labels), strict=True):
        share = 1 / (1 + exp(min(logs[1] - logs[0], 700)))
        found[place] = _Reply(labels[0 if share >= 0.5 else 1][0], share)
    return found


def _judgement(question: JudgeQuestion, replies: Sequence[_Reply]) -> Judgement:
    failed = next((reply.reason for reply in replies if reply.label is None), None)
    if failed is not None:
        return Judgement(None, None, failed)
    names = [reply.label for reply in replies if reply.label is not None]
    shares = [reply.probability for reply in replies if reply.probability is not None]
    if len(shares) == 2:  # the second call shows the two answers the other way round
        shares = [(shares[0] + 1 - shares[1]) / 2]
    return Judgement(question.value(names), shares[0] if shares else None)


def journal_of(folder: Path, judge: Judge) -> Journal:
    """What a judge has said before, in a file of its own."""
    return Journal(folder / f"{judge.identity}.jsonl")


def about(judge: Judge) -> dict[str, Any]:
    """Who judged, and how."""
    how = "label probability" if judge.by_probability else "strict parser"
    return {"name": judge.name, "identity": judge.identity, "read_by": how, "version": VERSION}
