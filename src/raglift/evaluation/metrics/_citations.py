"""The passages that an answer cites."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence

from raglift.evaluation.judgements import grades, units
from raglift.evaluation.metrics._base import Embed, Reply, ResponseMetric, Value
from raglift.evaluation.reasons import NO_ANSWER, NO_PASSAGE_SHOWN, NO_RELEVANT_PASSAGE, UNANSWERABLE
from raglift.records import QAPair

_CITATION = re.compile(r"\[(\d{1,3}(?:\s*[,;\N{EN DASH}-]\s*\d{1,3})*)\]")
_RANGE = re.compile(r"(\d+)(?:\s*[\N{EN DASH}-]\s*(\d+))?")


class CitationMetric(ResponseMetric):
    """Holds the passages that an answer cites as [1], [2, 3] or [1-3] against those that are judged relevant.

    The numbers are those of the prompt: passage 1 is the first that the arm was shown. After Gao et al. 2023, "Enabling
    Large Language Models to Generate Text with Citations" (ALCE), section 4, which asks a model whether the cited
    passages bear a sentence out; here the judgements of the question say which passages do, for the answer as a whole.
    """

    @abstractmethod
    def of(self, cited: set[int], relevant: set[int]) -> Value:
        """The value of one answer.

        Args:
            cited: The numbers that it cites, those that no passage has too.
            relevant: The numbers of the relevant passages that were shown.
        """

    def score(self, questions: Sequence[QAPair], replies: Sequence[Reply], embed: Embed) -> list[Value]:
        return [self._one(question, reply) for question, reply in zip(questions, replies, strict=True)]

    def _one(self, question: QAPair, reply: Reply) -> Value:
        if not question.answerable:
            return Value(None, UNANSWERABLE)
        wanted = {unit for unit, grade in grades(question).items() if grade > 0}
        if not wanted:
            return Value(None, NO_RELEVANT_PASSAGE)
        if not reply.passages:
            return Value(None, NO_PASSAGE_SHOWN)
        if reply.text is None:
            return Value(None, NO_ANSWER)
        relevant = {number for number, unit in enumerate(units(question, reply.passages), 1) if unit in wanted}
        return self.of(citations(reply.text), relevant)


def citations(answer: str) -> set[int]:
    """The numbers that an answer cites in square brackets."""
    found: set[int] = set()
    for match in _CITATION.finditer(answer):
        for first, last in _RANGE.findall(match[1]):
            found.update(range(int(first), int(last or first) + 1))
    return found
