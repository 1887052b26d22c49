"""What a teacher is: it scores a question's own passage and its hard negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raglift.index.searchable import Searchable
from raglift.models.device import Runtime
from raglift.training.pairs import Pair

Score = Callable[[Sequence[Pair]], list[tuple[float, ...]]]
"""For each pair the scores of its passage and of its negatives, in their order."""


@dataclass(frozen=True, slots=True)
class Classroom:
    """What a teacher may use beside its own model.

    Attributes:
        ids: Of the corpus's chunks, in the order of the index's rows, and then of other passages of the pairs.
        texts: Of the same.
        base: The base embedding model, its index of the chunks, and BM25 over all of the texts.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    base: Searchable
    runtime: Runtime


class Teacher(BaseModel):
    """Scores passages for questions.

    Attributes:
        when: When to use it.
        paper: Where it comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1

    def depends(self) -> list[Any]:
        """The revisions of the models that it reads.

        Raises:
            UserError: A model that it names is not there.
        """
        return []

    def begin(self, room: Classroom) -> Score:
        """Load what it needs.

        Raises:
            UserError: The model that it names cannot score passages.
        """
        raise NotImplementedError
