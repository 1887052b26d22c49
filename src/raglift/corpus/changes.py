"""What became of a corpus's documents since they were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from raglift.records import Document


@dataclass(frozen=True, slots=True)
class Changes:
    """Documents by what became of them. One is known again by its source, and by its text that it is the same.

    Attributes:
        new: Of sources that were not there before.
        changed: Of sources whose text was another one.
        gone: As they were; their sources are not there any more.
        replaced: The changed ones, as they were.
        unchanged: As they were.
    """

    new: tuple[Document, ...]
    changed: tuple[Document, ...]
    gone: tuple[Document, ...]
    replaced: tuple[Document, ...]
    unchanged: tuple[Document, ...]

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.new or self.changed or self.gone or self.replaced)


def changes(before: Sequence[Document], now: Sequence[Document]) -> Changes:
    """Compare documents by source and id."""
    ids_before, ids_now = {document.id for document in before}, {document.id for document in now}
    left = [document for document in before if document.id not in ids_now]
    come = [document for document in now if document.id not in ids_before]
    sources_left, sources_come = {document.source for document in left}, {document.source for document in come}
    return Changes(
        tuple(document for document in come if document.source not in sources_left),
        tuple(document for document in come if document.source in sources_left),
        tuple(document for document in left if document.source not in sources_come),
        tuple(document for document in left if document.source in sources_come),
        tuple(document for document in before if document.id in ids_now),
    )


def brought_up(found: Changes, now: Sequence[Document]) -> list[Document]:
    """The documents in the order of `now`; those that were there before keep their group and split.

    Each of the others is a group of its own: it is looked for in answers, and nothing is learned or measured on it.
    """
    known = {document.id: document for document in found.unchanged}
    return [known.get(document.id) or replace(document, group=document.id) for document in now]
