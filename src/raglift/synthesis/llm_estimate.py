"""What writing with a language model takes, before it is begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from llama_index.core.utils import get_tokenizer

from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.budget import Estimate, Usage, money
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_tasks import answer_prompt, question_prompt, read_result

_TURNS = 16
"""Tokens that a chat template adds around a prompt."""


def count_tokens(text: str) -> int:
    """Tokens of a text, as LlamaIndex counts them by default; a server's own count takes the place of it later."""
    return len(get_tokenizer()(text))


def _most_out(writer: LLMWriter) -> int:
    limit = writer.llm.metadata.num_output
    passed = writer.settings.kind == "python" and limit > 0
    return limit if passed else writer.settings.output_tokens


def _prompt_tokens(prompt: str) -> int:
    """Tokens of a prompt and of what a chat template adds; its worked examples are counted once."""
    head, mark, tail = prompt.rpartition("\n\nText: ")
    return _head_tokens(head) + count_tokens(mark + tail) + _TURNS


@cache
def _head_tokens(head: str) -> int:
    return count_tokens(head)


def most_of(writer: LLMWriter, prompt: str) -> Usage:
    """The most that a call may cost."""
    return Usage(_prompt_tokens(prompt), _most_out(writer))


def estimate_llm(
    texts: Sequence[tuple[str, str]],
    writer: LLMWriter,
    display: Progress,
    kinds: Mapping[str, QuestionKind],
    journal: Journal | None = None,
) -> Estimate:
    """What the writing of what is left will take.

    Args:
        texts: (Name of a question kind, text that a question is to be about), each once.
        kinds: Question kinds by name.
        journal: What is written already.
    """
    calls, likely, most = 0, Usage(), Usage()
    longest = _most_out(writer)
    left = 0
    with display.stage("estimating", len(texts), "questions") as bar:
        for kind_name, text in texts:
            prompts = _prompts_left(kinds[kind_name], text, journal)
            left += bool(prompts)
            for prompt, expected in prompts:
                tokens_in = _prompt_tokens(prompt)
                calls += 1
                likely += Usage(tokens_in, min(expected, longest))
                most += Usage(tokens_in, longest)
            bar.advance()
    settings = writer.settings
    costs = money(settings, likely), money(settings, most)
    return Estimate(writer.name, left, calls, likely, most, *costs, settings.max_tokens, settings.max_money)


def _prompts_left(kind: QuestionKind, text: str, journal: Journal | None) -> list[tuple[str, int]]:
    """Prompts that are still to be sent for a text, each with the length of a reply like the worked examples'.

    The question in the prompt for an answer is not known yet: a worked example's stands for it.
    """
    asked, answered = _expected(kind)
    prompt = question_prompt(kind, text)
    prompts = [(prompt, asked)]
    if kind.answer_words:
        prompts.append((answer_prompt(kind, text, kind.shots[0].asked), answered))
    if journal is not None:
        result = read_result(kind, text, journal)
        if result.complete:
            return []
        if result.question:
            return [(result.next_prompt, answered)]
    return prompts


@cache
def _expected(kind: QuestionKind) -> tuple[int, int]:
    """Tokens of the longest question and the longest answer among the worked examples."""
    return max(count_tokens(s.asked) for s in kind.shots), max(count_tokens(s.answer) for s in kind.answered)
