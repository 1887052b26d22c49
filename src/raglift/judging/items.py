"""What a judge is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """What is judged.

    Attributes:
        id: The question's.
        references: Right answers, empty where none is known.
        contexts: The passages that the answer was made from.
        other: Another answer to the same question, for a question that compares two.
        document: Where the evidence is; items of one document are not taken for wrong to each other.
    """

    id: str
    question: str
    answer: str | None
    references: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    other: str | None = None
    document: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """An item of which the right verdict is known; `how` says what was done to a wrong one, empty for a right one."""

    item: Item
    good: bool
    how: str = ""
