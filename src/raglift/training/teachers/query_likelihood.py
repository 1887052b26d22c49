"""A language model's probability of the question as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from raglift.models.find import find_model
from raglift.models.query_likelihood import load_likelihood_reranker
from raglift.training.pairs import Pair
from raglift.training.teachers._base import Classroom, Score, Teacher


class QueryLikelihoodTeacher(Teacher):
    """The log-probability that a language model gives a question after a passage.

    A softmax over the passages of a question is then the probability that it was asked of each of them, where all were
    equally likely before it was asked.

    References:
        Sachan et al. 2023, "Questions Are All You Need to Train a Dense Passage Retriever", equations 2 and 4.
    """

    when: ClassVar[str] = "no cross-encoder is at hand; also a small language model ranks well so"
    paper: ClassVar[str] = "Sachan et al. 2023"

    model: str = Field(
        default="SmolLM2-135M-Instruct",
        min_length=1,
        description="the language model: a known name, a folder or a Hugging Face id",
    )

    def depends(self) -> list[Any]:
        """The language model's weights."""
        return [find_model(self.model).revision]

    def begin(self, room: Classroom) -> Score:
        """Load the language model in the run's precision."""
        reranker = load_likelihood_reranker(find_model(self.model).path, room.runtime)

        def score(pairs: Sequence[Pair]) -> list[tuple[float, ...]]:
            asked = [(pair.query, text) for pair in pairs for text in (pair.passage, *pair.negatives)]
            found = iter(reranker.log_probabilities(asked))
            return [tuple(next(found) for _ in range(1 + len(pair.negatives))) for pair in pairs]

        return score


PLUGIN = QueryLikelihoodTeacher
