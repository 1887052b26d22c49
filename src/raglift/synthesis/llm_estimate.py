"""What writing with a language model takes, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from llama_index.core.utils import get_tokenizer

from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.asking import Asking
from raglift.synthesis.budget import Estimate, Usage, money
from raglift.synthesis.closed_book import llm_guess_prompt
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_tasks import read_result

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
    asking: Asking,
    display: Progress,
    journal: Journal | None = None,
    closed_book: bool = False,
) -> Estimate:
    """What the writing of what is left will take.

    Args:
        texts: (Question kind, text that a question is to be about), each once.
        journal: What is written already.
        closed_book: Whether questions that have an answer will be asked without their passages too. Which of them
            pass the other filters is not known yet: all are counted.
    """
    lengths = {name: _expected(asking, name) for name in dict.fromkeys(name for name, _ in texts)}
    calls, likely, most = 0, Usage(), Usage()
    longest = _most_out(writer)
    left = 0
    with display.stage("estimating", len(texts), "questions") as bar:
        for kind_name, text in texts:
            prompts = _prompts_left(asking, kind_name, text, lengths[kind_name], journal)
            left += bool(prompts)
            if prompts and closed_book and asking.kinds[kind_name].answer_words:
                # A worked example's question stands for the one that will be asked.
                guess = llm_guess_prompt(asking.kinds[kind_name].shots[0].asked)
                prompts = [*prompts, (guess, lengths[kind_name][1])]
            for prompt, expected in prompts:
                tokens_in = _prompt_tokens(prompt)
                calls += 1
                likely += Usage(tokens_in, min(expected, longest))
                most += Usage(tokens_in, longest)
            bar.advance()
    settings = writer.settings
    costs = money(settings, likely), money(settings, most)
    return Estimate(writer.name, left, calls, likely, most, *costs, settings.max_tokens, settings.max_money)


def _prompts_left(
    asking: Asking, kind_name: str, text: str, lengths: tuple[int, int], journal: Journal | None
) -> list[tuple[str, int]]:
    """Prompts that are still to be sent for a text, each with the length of a reply like the worked examples'.

    The question in the prompt for an answer is not known yet: a worked example's stands for it.
    """
    kind, style = asking.kinds[kind_name], asking.style
    asked, answered = lengths
    prompt = style.message(kind, text)
    prompts = [(prompt, asked)]
    if kind.answer_words:
        prompts.append((style.answer_message(kind, text, kind.shots[0].asked), answered))
    if journal is not None:
        result = read_result(asking, kind_name, text, journal)
        if result.complete:
            return []
        if result.question:
            return [(result.next_prompt, answered)]
    return prompts


def _expected(asking: Asking, kind_name: str) -> tuple[int, int]:
    """Tokens of the longest reply and the longest answer among the worked examples."""
    kind = asking.kinds[kind_name]
    replies = (asking.style.reply(kind, shot) for shot in kind.shots)
    return max(map(count_tokens, replies)), max(count_tokens(shot.answer) for shot in kind.answered)
