"""Judges of known errors, and questions with known answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from pydantic import PrivateAttr

from raglift.judging.items import Item

Reply = Callable[[str], str]


class ScriptedLLM(CustomLLM):
    """Says what a function says; `asked` holds the prompts."""

    name: str = "scripted"
    _reply: Reply = PrivateAttr()
    _asked: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, reply: Reply, **fields: Any) -> None:
        super().__init__(**fields)
        self._reply = reply

    @property
    def asked(self) -> list[str]:
        """The prompts so far."""
        return self._asked

    @property
    def metadata(self) -> LLMMetadata:
        """The model's name."""
        return LLMMetadata(model_name=self.name)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """What the function says."""
        self._asked.append(prompt)
        return CompletionResponse(text=self._reply(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """In one piece."""
        yield self.complete(prompt)


def part(prompt: str, name: str) -> str:
    """What stands between the marks of a part."""
    return prompt.split(f"<{name}>\n", 1)[1].split(f"\n</{name}>", 1)[0] if f"<{name}>" in prompt else ""


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone, as evenly spread as a random one."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7]) / 2**56


def erring(truth: Callable[[str], bool], sensitivity: float, specificity: float) -> Reply:
    """A judge who knows the truth and errs at given rates; the same prompt always gets the same reply."""

    def reply(prompt: str) -> str:
        right = truth(prompt)
        errs = chance(prompt) >= (sensitivity if right else specificity)
        return "Yes" if right != errs else "No"

    return reply


def known_items(count: int, documents: int = 0) -> list[Item]:
    """Questions about towns, each with two right answers and its evidence."""
    found = []
    for number in range(count):
        town, year = f"Town{_letters(number)}", 1100 + number
        evidence = f"The market hall of {town} was built in {year}. It is open on most days."
        found.append(
            Item(
                f"q{number}",
                f"When was the market hall of {town} built?",
                f"The market hall of {town} was built in {year}.",
                (str(year), f"in the year {year}"),
                (evidence,),
                document=f"d{number % documents if documents else number}",
            )
        )
    return found


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def right_answers(items: Sequence[Item]) -> Callable[[str], bool]:
    """Whether the answer in a prompt is a right one to the question in it."""
    answers = {item.question: {item.answer, *item.references} for item in items}
    return lambda prompt: part(prompt, "answer") in answers[part(prompt, "question")]
